"""python -m training.start --nproc-per-node=2 train.py --checkpoints /tmp/paxml

Trains a decoder language model by PaxML, its weights and batches cut over all processes' devices:
gloo on CPUs, NCCL on GPUs. Rank 0 prints one JSON object per line. Started again with the same
--checkpoints, PaxML goes on after its newest checkpoint. Exit status of a process: 0 done, 1 it
cannot go on, 2 wrong configuration, data or checkpoint, 3 the loss diverged.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import configuration
import jax
import numpy as np
from configuration import Configuration
from training import checkpoints, records
from training.arguments import parser
from training.records import WRONG_INPUT, Stop

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/tiny.json"
MAY_DIFFER = ("log_every", "checkpoint_every", "keep_checkpoints")


def meet() -> None:
    """Meet the other processes, of which one drives each device."""
    # Before anything else of JAX: PaxML itself has no option for it, and the variable of the
    # environment has no effect in this version.
    jax.config.update("jax_cpu_enable_gloo_collectives", True)
    environment = os.environ
    jax.distributed.initialize(
        coordinator_address=f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}",
        num_processes=int(environment["WORLD_SIZE"]),
        process_id=int(environment["RANK"]),
        local_device_ids=int(environment["LOCAL_RANK"]),
    )


def newest(folder: Path) -> int | None:
    """The step of PaxML's newest checkpoint that is whole; None if there is none."""
    found = (folder / "checkpoints").glob("checkpoint_" + "[0-9]" * 8)
    return max((int(path.name.partition("_")[2]) for path in found), default=None)


def digest(weights: Any) -> str:
    """SHA-256 of all weights, however they are cut."""
    from jax.experimental import multihost_utils  # noqa: PLC0415  # after `meet`

    sha256 = hashlib.sha256()
    for leaf in jax.tree_util.tree_leaves(weights):
        sha256.update(np.asarray(multihost_utils.process_allgather(leaf, tiled=True)).tobytes())
    return sha256.hexdigest()


def train(config: Configuration, folder: Path, path: Path | None) -> None:
    """Train to the last step, and look at the windows held out."""
    import data  # noqa: PLC0415  # PaxML asks for devices when it is imported, so after `meet`
    import experiment as experiments  # noqa: PLC0415
    import paxml.train  # noqa: PLC0415
    from absl import flags, logging  # noqa: PLC0415

    flags.FLAGS([__file__])  # PaxML looks at flags of its command line; all have their defaults
    logging.set_verbosity(logging.WARNING)
    log, began = records.Log(jax.process_index()), time.perf_counter()
    train_windows, test_windows = data.windows(str(path) if path else None, config.length)
    log(
        "start",
        0,
        world_size=jax.process_count(),
        backend="gloo" if jax.default_backend() == "cpu" else "nccl",
        jax=jax.__version__,
        mesh={"data": jax.device_count()},
        samples=len(train_windows),
        configuration=asdict(config),
    )
    program = experiments.Training(config, log, lambda: newest(folder) or 0)
    experiment = experiments.LanguageModel(config, program, path)
    paxml.train.train_and_evaluate(
        experiment,
        str(folder),
        maybe_use_persistence_checkpointing=False,
        eval_on_test=False,
        enable_summary_writer=False,
    )
    program.tell_checkpoint()
    loss = program.held_out(experiment.eval_datasets()[0])
    log(
        "final",
        config.steps,
        loss=loss,
        held_out=len(test_windows),
        seconds=round(time.perf_counter() - began, 3),
        tokens_per_s=program.mean_rate(),
        parameters_sha256=digest(program.state.mdl_vars),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one process."""
    made = parser(DEFAULT_CONFIGURATION)
    made.add_argument("--data", type=Path, help="a file or folder; Python's help pages if none")
    options = made.parse_args(arguments)
    config = configuration.load(options.configuration, options.set)
    options.checkpoints.mkdir(parents=True, exist_ok=True)
    meet()
    if config.global_batch_size % jax.device_count():
        told = f"global_batch_size must be a multiple of the {jax.device_count()} processes"
        raise Stop(WRONG_INPUT, told)
    checkpoints.demand_same_training(
        options.checkpoints,
        asdict(config),
        jax.process_index(),
        there=newest(options.checkpoints) is not None,
        may_differ=MAY_DIFFER,
    )
    train(config, options.checkpoints.resolve(), options.data)
    jax.distributed.shutdown()  # waits for all: without it the first to end would end the others


if __name__ == "__main__":
    records.run(main)
