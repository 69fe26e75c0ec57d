"""Starts ranks of the fsdp test case by fork: torch is imported once, not once per rank."""

import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def run_ranks(
    ranks: int,
    arguments: Sequence[str],
    prepare: Callable[[int], None] = lambda rank: None,
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
    states = [Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] for child in left]
    return bool(states) and set(states) == {"T"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
