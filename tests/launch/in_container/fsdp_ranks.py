"""Starts ranks of the fsdp test case by fork: torch is imported once, not once per rank."""
# ruff: noqa: PT009  # the image has no pytest

import json
import os
import signal
import socket
import sys
import tempfile
import time
import unittest
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401  # FSDP loads it later, in each rank
import train
from training import records

LONG_ENOUGH_S = 60


@dataclass(frozen=True)
class Ended:
    """What ranks said, each with its exit status (negative: the signal that ended it)."""

    statuses: list[int]
    printed: list[str]
    seconds: float

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON objects of rank 0."""
        lines = self.printed[0].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def of(self, event: str) -> list[dict[str, Any]]:
        """Those of one event."""
        return [record for record in self.records if record["event"] == event]

    @property
    def losses(self) -> dict[int, float]:
        """The loss of each step."""
        return {record["step"]: record["loss"] for record in self.of("step")}

    @property
    def error(self) -> str:
        """Why rank 0 stopped."""
        return str(self.of("error")[0]["message"])


def leave_alone(_rank: int) -> None:
    """Break nothing."""


def run_ranks(
    ranks: int,
    arguments: Sequence[str],
    prepare: Callable[[int], None] = leave_alone,
    local_ranks: int | None = None,
) -> Ended:
    """Run train.py's main by some ranks.

    Args:
        ranks: How many.
        arguments: Its command line.
        prepare: Called in each with its number, to break something.
        local_ranks: Ranks of a node.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(rank)) for rank in range(ranks)]
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        meeting |= {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(local_ranks or ranks)}
        children = []
        sys.stdout.flush()  # what is still to be written would be written by each child
        for rank, file in enumerate(files):
            if (child := os.fork()) == 0:
                os.environ.update(meeting, RANK=str(rank), LOCAL_RANK=str(rank))
                _be_rank(rank, file, arguments, prepare)
            children.append(child)
        statuses = _wait(children)
        printed = [file.read_text() for file in files]
    return Ended(statuses, printed, time.monotonic() - began)


def _be_rank(
    rank: int, file: Path, arguments: Sequence[str], prepare: Callable[[int], None]
) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)

        def main() -> None:
            prepare(rank)
            train.main(arguments)

        records.run(main)
    finally:
        os._exit(99)  # never the test's own code, twice


def _wait(children: list[int]) -> list[int]:
    statuses: dict[int, int] = {}
    until = time.monotonic() + LONG_ENOUGH_S
    while len(statuses) < len(children):
        for child in set(children) - statuses.keys():
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                statuses[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until or _only_stopped_are_left(children, statuses):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    return [statuses[child] for child in children]


def _only_stopped_are_left(children: list[int], statuses: dict[int, int]) -> bool:
    """A rank that was stopped by a signal ends by itself never."""
    left = set(children) - statuses.keys()
    states = [
        Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] for child in left
    ]
    return bool(states) and set(states) == {"T"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


BOUND = 2.7  # held-out loss that case.yml promises
TOLERANCE = 1e-3  # of losses, between numbers of ranks
FEW = {"steps": 12, "warmup_steps": 2, "checkpoint_every": 4, "validation_windows": 16}


def options(folder: Path, **changes: Any) -> list[str]:
    """A command line with some keys of the configuration changed."""
    told = [f"--checkpoints={folder}", "--timeout-s=20"]
    return told + [f"--set={name}={value}" for name, value in changes.items()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def steps(*numbers: int) -> list[str]:
    return [f"step-{number:08d}" for number in numbers]


class Runs(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "checkpoints"

    def train(
        self, ranks: int = 2, prepare: Callable[[int], None] = leave_alone, **changes: Any
    ) -> Ended:
        return run_ranks(ranks, options(self.folder, **{**FEW, **changes}), prepare)

    def assert_done(self, run: Ended) -> None:
        self.assertEqual(set(run.statuses), {0}, run.printed)

    def assert_close(self, found: dict[int, float], expected: dict[int, float]) -> None:
        self.assertEqual(found.keys(), expected.keys())
        for step, loss in expected.items():
            self.assertAlmostEqual(found[step] / loss, 1, delta=TOLERANCE, msg=f"step {step}")


@cache
def unbroken() -> tuple[Ended, tempfile.TemporaryDirectory[str]]:
    """A short training by two ranks, and its checkpoints of steps 4, 8 and 12."""
    folder = tempfile.TemporaryDirectory()
    return run_ranks(2, options(Path(folder.name), **FEW)), folder


@cache
def whole() -> Ended:
    """The default configuration as it is, by two ranks."""
    with tempfile.TemporaryDirectory() as folder:
        return run_ranks(2, options(Path(folder)))
