"""python -m training.start --nproc-per-node=2 launch.py --checkpoints /tmp/nemo-run

Starts the fsdp test case's program by NeMo-Run, as many processes as there are ranks: rank 0
gives the job to NeMo-Run's LocalExecutor, whose launcher is torchrun, and passes on the records of
the program; the others have nothing to do. A failed job is an error here, too: NeMo-Run itself ends
with status 0 then.
A configuration of a NeMo 2 recipe is not for that program: recipe.py trains it in each rank.
Exit status: 0 done, 1 the job failed, 2 wrong input.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipe import train
from recipe_configuration import is_recipe
from training import records
from training.records import WRONG_INPUT, Stop

PROGRAM = Path("/opt/fsdp/train.py")
SUCCEEDED = "SUCCEEDED"
WORKER = "--worker"


def states_of(status: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the name of each job's state, from `Experiment.status(return_dict=True)`."""
    return {
        name: str(getattr(job["status"], "name", job["status"])) for name, job in status.items()
    }


def demand_success(status: Mapping[str, Mapping[str, Any]]) -> None:
    """Demand that all jobs of an experiment have succeeded.

    Raises:
        Stop: One has not, or there is none.
    """
    states = states_of(status)
    wrong = {name: state for name, state in states.items() if state != SUCCEEDED}
    if wrong or not states:
        told = ", ".join(f"{name} is {state}" for name, state in wrong.items())
        raise Stop(1, f"NeMo-Run: {told or 'there is no job'}")


def record_in(line: str) -> str | None:
    """Return the record in a line of NeMo-Run's log, where names of job and rank stand before it;
    None if there is none."""
    begin = line.find('{"event"')
    try:
        return json.dumps(json.loads(line[begin:])) if begin >= 0 else None
    except ValueError:
        return None


def worker(program: Path, arguments: list[str], processes: int, home: Path) -> None:
    """Run the job by NeMo-Run and demand that it succeeds; all that is logged goes to stdout."""
    import nemo_run  # noqa: PLC0415  # takes seconds; tests of this file go without it

    executor = nemo_run.LocalExecutor(ntasks_per_node=processes, launcher="torchrun")
    script = nemo_run.Script(path=str(program), entrypoint="python", args=arguments)
    with nemo_run.Experiment(
        "fsdp", executor=executor, base_dir=str(home), enable_goodbye_message=False
    ) as experiment:
        experiment.add(script, tail_logs=True, name="training")
        experiment.run(sequential=True, tail_logs=True)
    # Only now: inside, the state of a job that has just ended is still RUNNING.
    demand_success(experiment.status(return_dict=True))


def follow(command: list[str]) -> None:
    """Run the worker and print the records that it logs; the rest goes to stderr.

    Raises:
        Stop: The worker failed.
    """
    told = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode(errors="replace")
            if (record := record_in(line)) is None:
                sys.stderr.write(line)
                continue
            print(record, flush=True)
            told = json.loads(record)
    if process.returncode:
        status = told["status"] if told and told["event"] == "error" else 1
        raise Stop(status, "NeMo-Run's job failed; what it said is above")
    if told is None or told["event"] != "final":
        raise Stop(1, "NeMo-Run says that the job succeeded, but it has not said that it is done")


def main() -> None:
    """Run one rank."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--configuration", type=Path, default=Path("configurations/tiny.json"))
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--timeout-s", type=float, default=120)
    parser.add_argument("--program", type=Path, default=PROGRAM, help="what is started")
    parser.add_argument(WORKER, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if is_recipe(options.configuration):
        train(options.configuration, options.checkpoints)
        return
    if not options.program.is_file():
        raise Stop(WRONG_INPUT, f"there is no program {options.program}")
    arguments = [
        f"--configuration={options.configuration.resolve()}",
        f"--checkpoints={options.checkpoints.resolve()}",
        f"--timeout-s={options.timeout_s:g}",
    ]
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if os.environ.get("LOCAL_WORLD_SIZE", str(processes)) != str(processes):
        raise Stop(WRONG_INPUT, "NeMo-Run's LocalExecutor starts processes of one node only")
    if options.worker:
        home = Path(os.environ.get("NEMORUN_HOME", options.checkpoints / "nemo-run"))
        worker(options.program, arguments, processes, home)
    elif os.environ.get("RANK", "0") == "0":
        follow([sys.executable, __file__, WORKER, f"--program={options.program}", *arguments])


if __name__ == "__main__":
    records.run(main)
