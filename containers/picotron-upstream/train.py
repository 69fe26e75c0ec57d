"""torchrun --standalone --nproc-per-node=2 train.py --checkpoints /tmp/picotron

Runs the train.py of Hugging Face's Picotron, as it is at its pinned commit, from its own
configuration. What is ours: a model and text where there is no hub, what its commit lacks here
(patches.py), and around it the records that rank 0 prints, one JSON object per line, checkpoints
that are whole, the place in the text after a resume, and held-out text (watch.py). Started again
with the same --checkpoints it goes on after the newest one. Exit status of a process: 0 done, 1 it
could not go on, 2 wrong configuration, checkpoint or data, 3 the loss diverged.
"""

import json
import os
import runpy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import local
import patches
import torch
from configuration import Job, load
from training import checkpoints
from training.arguments import parser
from training.records import WRONG_INPUT, Stop, run

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/tiny.json"
PICOTRON = Path("/opt/picotron")
MAY_DIFFER = ("save_frequency",)


def resumed_from(folder: Path, job: Job) -> str:
    """Return the newest whole checkpoint of a job; empty where there is none.

    Raises:
        Stop: It is of another job, or the folder cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = checkpoints.newest(folder)
    except OSError as error:
        raise Stop(WRONG_INPUT, f"{folder} cannot be used: {error}") from error
    if found is None:
        return ""
    place, about = found
    checkpoints.demand_same(about["configuration"], job.flat(), place, MAY_DIFFER)
    return str(place)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one rank.

    Raises:
        Stop: It cannot go on; with the exit status and the reason.
    """
    # By whole lines: what Picotron prints on another rank must not end amid a record.
    sys.stdout.reconfigure(line_buffering=True)
    options = parser(DEFAULT_CONFIGURATION, changes=False).parse_args(arguments)
    job, ranks = load(options.configuration), int(os.environ["WORLD_SIZE"])
    job.copies(ranks)
    if not job.distributed.use_cpu and not torch.cuda.is_available():
        raise Stop(WRONG_INPUT, f"{options.configuration}: there is no GPU here")
    folder = options.checkpoints.resolve()
    load_path = resumed_from(folder, job)
    with tempfile.TemporaryDirectory() as own:
        # Where models of a hub are written, and every rank must see what rank 0 wrote.
        work = folder if job.local is None else Path(own)
        os.environ |= {"HF_HOME": str(work / "hub")}
        model, dataset = _named(job, work)
        config = Path(own, "config.json")
        config.write_text(json.dumps(job.told(ranks, model, dataset, load_path)))
        sys.path.insert(0, str(PICOTRON))
        used = {"flash_attn"} if job.flash else set()
        done = patches.install(cpu=job.distributed.use_cpu, used=used)
        from watch import Watch  # noqa: PLC0415  # it imports Picotron

        Watch(job, folder, options.timeout_s, done).install()
        os.chdir(work)
        sys.argv = ["train.py", "--config", str(config)]
        runpy.run_path(str(PICOTRON / "train.py"), run_name="__main__")


def _named(job: Job, work: Path) -> tuple[str, str]:
    if job.local is not None:
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_TOKEN": ""}  # Picotron demands one
        return local.write(job.local, job.training.seq_length, work)
    assert job.model is not None
    assert job.dataset is not None
    return job.model.name, job.dataset.name


if __name__ == "__main__":
    run(main)
