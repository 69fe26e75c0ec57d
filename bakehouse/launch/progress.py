"""How a run goes, on standard error: a line that moves on a terminal, else a line now and then."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.status import Status

QUIET_S = 5.0
"""Seconds between two lines where there is no terminal."""


class RunProgress:
    """Tells a person which step a run is at."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = console.status("") if console.is_terminal else None
        self._began = self._said = time.monotonic()
        self._attempt, self._steps = 0, 0

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def began(self, attempt: int) -> None:
        """All nodes are being started."""
        self._attempt = attempt
        self._say("starting the nodes")

    def killed(self, node: int, step: int) -> None:
        """A node was killed on purpose."""
        self._say(f"step {step}: killed node {node}, waiting for the others to notice")

    def stopping(self) -> None:
        """The user wants to stop; containers and network are being removed."""
        self._say("interrupted: removing containers and network")

    def saw(self, record: dict[str, Any]) -> None:
        """The training printed a record."""
        match record["event"]:
            case "start":
                self._steps = int(record.get("configuration", {}).get("steps", 0))
                self._say(f"{record['world_size']} processes have met")
            case "resume":
                self._say(f"resumed from the checkpoint of step {record['step']}")
            case "step":
                self._move(record)
            case "final":
                reached = [k for k in ("accuracy", "loss") if k in record]
                figures = ", ".join(f"{k} {record[k]:.4f}" for k in reached)
                self._say(f"step {record['step']}: {figures} on held-out samples")
            case "error":
                self._say(f"the training stops itself: {record.get('message')}")

    def _move(self, record: dict[str, Any]) -> None:
        of = f"/{self._steps}" if self._steps else ""
        text = f"step {record['step']}{of}, loss {record['loss']:.4f}"
        if self._status is not None:
            self._status.update(self._line(text))
        elif time.monotonic() - self._said >= QUIET_S:
            self._say(text)

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(self._line(text), markup=False)

    def _line(self, text: str) -> str:
        return f"{time.monotonic() - self._began:6.1f} s  attempt {self._attempt}: {text}"
