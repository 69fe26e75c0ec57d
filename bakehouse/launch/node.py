"""One node of a local run: its container, its log file, and the records that it prints."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakehouse import engine

Record = dict[str, Any]
SHOWN_LINES = 20


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a node ended.

    Attributes:
        status: Exit status of its container; 137 after SIGKILL.
        out_of_memory: Whether the kernel killed one of its processes for using too much.
    """

    status: int
    out_of_memory: bool


def follow(container: engine.StartedContainer, log: Path, seen: Callable[[Record], None]) -> Ended:
    """Copy a container's output to its log and report its records, until it ends.

    Args:
        container: A started container.
        log: File that both streams are appended to.
        seen: Called with each JSON line of standard output.
    """
    with log.open("a", encoding="utf-8", buffering=1) as file:
        for stream, line in _lines(engine.output(container)):
            file.write(line + "\n")
            if stream == "stdout" and (record := parse(line)) is not None:
                seen(record)
    status = int(container.wait()["StatusCode"])
    container.reload()
    return Ended(status=status, out_of_memory=bool(container.attrs["State"].get("OOMKilled")))


def parse(line: str) -> Record | None:
    """The record that a line holds; None for any other output."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("event"), str) else None


def last_words(log: Path) -> str:
    """The lines of a failed node's log that say why: the processes' own, if there are any.

    torchrun prints a page about each process that fails, after what the process said itself.
    """
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    own = [line for line in lines if line.startswith("[rank")]
    return "\n".join((own or lines)[-SHOWN_LINES:])


def _lines(
    chunks: Iterator[tuple[bytes | None, bytes | None]],
) -> Iterator[tuple[str, str]]:
    """Whole lines of two streams whose chunks end anywhere."""
    rest = {"stdout": b"", "stderr": b""}
    for pair in chunks:
        for stream, chunk in zip(("stdout", "stderr"), pair, strict=True):
            *whole, rest[stream] = (rest[stream] + (chunk or b"")).split(b"\n")
            for line in whole:
                yield stream, line.decode("utf-8", errors="replace")
    for stream, line in rest.items():
        if line:
            yield stream, line.decode("utf-8", errors="replace")
