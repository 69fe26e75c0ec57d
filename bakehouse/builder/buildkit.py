"""Running one BuildKit build: progress as it happens, no name at the end, nothing after a stop."""

import ctypes
import os
import re
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bakehouse import engine
from bakehouse.builder.children import bound
from bakehouse.builder.failures import relevant_lines
from bakehouse.builder.result import Task
from bakehouse.builder.supply import lacking
from bakehouse.errors import BakehouseError, BuildError, HostError
from bakehouse.mirror.server import NOT_THERE

__all__ = ["Built", "Step", "build", "die_with_parent", "relevant_lines"]

Event = Literal["start", "line", "cached", "done"]
OnEvent = Callable[[Event, "Step", str], None]

_LINE = re.compile(r"^#(\d+) (.*)$")
_STEP = re.compile(r"^\[(?:(\S+) +)?\d+/\d+\] (?!FROM )(.+)$")
_MOUNT = re.compile(r"--mount=\S+ *")
_MARKER = re.compile(r"bakehouse-layer=([A-Za-z0-9_.-]+):([0-9a-f]+)")
_DONE = re.compile(r"^DONE ([0-9.]+)s$")
_OUTPUT = re.compile(r"^([0-9.]+) (.*)$")
_TASK = re.compile(r"^TASK \[(?:[a-z0-9_]+ : )?(.*)\] \**$")
_LIBC = ctypes.CDLL(None)  # loaded here, since a forked child must not load anything
_PR_SET_PDEATHSIG = 1


@dataclass(kw_only=True)
class Step:
    """One instruction of a Dockerfile that may run; `marked` if it is a role's layer.

    Of a role of a machine, `began_at` is when it began, in seconds since the epoch.
    """

    name: str
    marked: bool
    cached: bool = False
    seconds: float = 0.0
    began_at: float = 0.0
    tasks: list[Task] = field(default_factory=list)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=400))
    open_task: tuple[str, float] | None = None

    def read(self, at: float, line: str) -> None:
        """Take a line of the step's output, `at` seconds after its start."""
        self.lines.append(line)
        task = _TASK.match(line)
        if task is not None or line.startswith("PLAY RECAP"):
            self.close_task(at)
            self.open_task = (task[1], at) if task else None

    def close_task(self, at: float) -> None:
        """End the present task, if there is one."""
        if self.open_task is not None:
            name, began = self.open_task
            self.tasks.append(Task(name=name, seconds=round(at - began, 2)))
            self.open_task = None


@dataclass(frozen=True, kw_only=True)
class Built:
    """A finished build: the image's id, the steps, and the build's wall time."""

    image_id: str
    steps: list[Step]
    seconds: float
    exporting_seconds: float

    def layer(self, name: str) -> Step | None:
        """The step of a role."""
        return next((step for step in self.steps if step.marked and step.name == name), None)


def build(
    context: Path,
    *,
    where: str,
    options: list[str] | None = None,
    on_event: OnEvent | None = None,
) -> Built:
    """Build a context; the result has no name yet.

    Args:
        context: Folder with a Dockerfile; the image's id is written beside it for a moment.
        where: Image, for messages.
        options: More options of `docker build`.
        on_event: Called with "start", "line", "cached" or "done", the step, and the line.

    Raises:
        BuildError: The build failed; carries what the failing task said.
        DownloadError: A bundle that it draws on does not have a file.
        HostError: No engine, or no client that can use BuildKit, or the disk is full.
    """
    started = time.monotonic()
    iidfile = context.with_name(f"{context.name}.iid")
    iidfile.unlink(missing_ok=True)
    command, environment = engine.build_command(
        context, context / "Dockerfile", iidfile, options or []
    )
    reader = Reader(on_event or (lambda _event, _step, _line: None))
    try:
        status = _run(command, dict(environment), reader)
        if status != 0 or not iidfile.is_file():
            raise _failure(where, reader)
        return Built(
            image_id=iidfile.read_text(encoding="utf-8").strip(),
            steps=list(reader.steps.values()),
            seconds=round(time.monotonic() - started, 2),
            exporting_seconds=reader.exporting_seconds,
        )
    finally:
        iidfile.unlink(missing_ok=True)


class Reader:
    """Turns BuildKit's plain progress into steps and events."""

    def __init__(self, on_event: OnEvent) -> None:
        self.steps: dict[str, Step] = {}
        self.tail: deque[str] = deque(maxlen=40)
        self.failed: Step | None = None
        self.exporting_seconds = 0.0
        self._exporting = ""
        self._on_event = on_event

    def read(self, line: str) -> None:
        """Take one line of progress."""
        match = _LINE.match(line)
        if match is None:
            self.tail.append(line)
            return
        number, text = match.groups()
        if " sha256:" not in text:
            self.tail.append(text)
        if number in self.steps:
            self._update(self.steps[number], text)
        elif step := _step(text):
            self.steps[number] = step
            self._on_event("start", step, "")
        elif text == "exporting to image":
            self._exporting = number
        elif number == self._exporting and (done := _DONE.match(text)):
            self.exporting_seconds = float(done[1])

    def _update(self, step: Step, text: str) -> None:
        if text == "CACHED":
            step.cached = True
            self._on_event("cached", step, "")
        elif done := _DONE.match(text):
            # Also after CACHED: BuildKit may find only then that it has let go of the content.
            step.cached = False
            step.seconds = float(done[1])
            step.close_task(step.seconds)
            self._on_event("done", step, "")
        elif text.startswith("ERROR"):
            self.failed = step
        elif output := _OUTPUT.match(text):
            step.read(float(output[1]), output[2])
            self._on_event("line", step, output[2])


def _step(text: str) -> Step | None:
    """The step that a line announces; a mounted stage's name stands for its instructions."""
    match = _STEP.match(text)
    if match is None:
        return None
    marked = _MARKER.search(text)
    if marked is not None:
        return Step(name=marked[1], marked=True)
    stage, instruction = match[1], " ".join(_MOUNT.sub("", match[2]).split())
    in_last_stage = stage is None or stage.startswith("stage-")
    return Step(name=instruction if in_last_stage else stage, marked=False)


def _run(command: list[str], environment: dict[str, str], reader: Reader) -> int:
    process = subprocess.Popen(
        bound(command),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            reader.read(line.rstrip("\n"))
        return process.wait()
    finally:
        # BuildKit stops the build when its client goes.
        if process.poll() is None:
            process.terminate()
            process.wait()


def die_with_parent() -> None:
    """In a child just forked: have the kernel end it (SIGTERM) should its parent be killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _failure(where: str, reader: Reader) -> BakehouseError:
    step = reader.failed
    lines = [line for line in reader.tail if line.strip()]
    text = "\n".join(relevant_lines(list(step.lines) if step and step.lines else lines))
    whole = "\n".join([*lines, *(step.lines if step else [])])
    missing = [line for line in whole.splitlines() if line.startswith(f"{NOT_THERE}: ")]
    if missing:
        return lacking("\n".join([*dict.fromkeys(missing), text]), _place(where, step))
    if "No space left on device" in whole or "no space left on device" in whole:
        return HostError(
            f"the disk is full:\n{text}",
            where=_place(where, step),
            remedy="free some space (`docker system df` shows what docker holds), and build again",
        )
    remedy = "correct it and build again"
    if step is not None and step.marked:
        remedy += f"; the layers below {step.name} are kept"
    return BuildError(f"the layer failed:\n{text}", where=_place(where, step), remedy=remedy)


def _place(where: str, step: Step | None) -> str:
    return f"{where}, layer {step.name}" if step else where
