"""Running one BuildKit build: progress as it happens, no name at the end, nothing after a stop."""

import ctypes
import os
import re
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bakehouse import engine
from bakehouse.errors import BuildError

_LINE = re.compile(r"^#(\d+) (.*)$")
_MARKER = re.compile(r"bakehouse-layer=([a-z0-9_.-]+):([0-9a-f]+)")
_DONE = re.compile(r"^DONE ([0-9.]+)s$")
_OUTPUT = re.compile(r"^[0-9.]+ (.*)$")
_PR_SET_PDEATHSIG = 1


@dataclass(kw_only=True)
class Step:
    """One layer of a running build."""

    name: str
    cached: bool = False
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=200))


@dataclass(frozen=True, kw_only=True)
class Built:
    """A finished build: the image's id, its marked layers by name, and its wall time."""

    image_id: str
    steps: dict[str, Step]
    seconds: float


def build(
    context: Path,
    *,
    dockerfile: Path | None = None,
    options: list[str] | None = None,
    on_event: Callable[[str, Step, str], None] | None = None,
) -> Built:
    """Build a context; the result has no name yet.

    Args:
        context: Folder.
        dockerfile: Defaults to the context's Dockerfile.
        options: More options of `docker build`.
        on_event: Called with "start", "line", "cached" or "done", the layer, and the line.

    Raises:
        BuildError: The build failed; carries the failing layer's last lines.
        HostError: No engine, or no client that can use BuildKit.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bakehouse-build-") as scratch:
        iidfile = Path(scratch, "iid")
        command, environment = engine.build_command(
            context, dockerfile or context / "Dockerfile", iidfile, options or []
        )
        reader = _Reader(on_event or (lambda _event, _step, _line: None))
        status = _run(command, dict(environment), reader)
        if status != 0 or not iidfile.is_file():
            raise _failure(context, reader)
        seconds = round(time.monotonic() - started, 2)
        return Built(image_id=iidfile.read_text().strip(), steps=reader.steps, seconds=seconds)


class _Reader:
    """Turns BuildKit's plain progress into events per marked layer."""

    def __init__(self, on_event: Callable[[str, Step, str], None]) -> None:
        self.steps: dict[str, Step] = {}
        self.tail: deque[str] = deque(maxlen=40)
        self.failed: Step | None = None
        self._by_number: dict[str, Step] = {}
        self._on_event = on_event

    def read(self, line: str) -> None:
        """Take one line of progress."""
        if " sha256:" not in line:
            self.tail.append(line)
        match = _LINE.match(line)
        if match is None:
            return
        number, text = match.groups()
        step = self._by_number.get(number)
        if step is None:
            marked = _MARKER.search(text)
            if marked is not None:
                step = self._by_number[number] = Step(name=marked[1])
                self.steps[step.name] = step
                self._on_event("start", step, "")
            return
        self._update(step, text)

    def _update(self, step: Step, text: str) -> None:
        if text == "CACHED":
            step.cached = True
            self._on_event("cached", step, "")
        elif done := _DONE.match(text):
            step.seconds = float(done[1])
            self._on_event("done", step, "")
        elif text.startswith("ERROR"):
            self.failed = step
        elif output := _OUTPUT.match(text):
            step.lines.append(output[1])
            self._on_event("line", step, output[1])


def _run(command: list[str], environment: dict[str, str], reader: _Reader) -> int:
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads exist at this point
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


def _die_with_parent() -> None:
    """Have the kernel end the client when we are killed, so that its build stops too."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _failure(context: Path, reader: _Reader) -> BuildError:
    step = reader.failed
    if step is None:
        text = "\n".join(line for line in reader.tail if line.strip())
        return BuildError(f"the build failed:\n{text}", where=str(context), remedy=_remedy(text))
    text = "\n".join(_relevant(list(step.lines)))
    return BuildError(
        f"layer {step.name} failed:\n{text}",
        where=str(context),
        remedy=_remedy(text) or f"correct it and build again; layers below {step.name} are kept",
    )


def _relevant(lines: list[str]) -> list[str]:
    """From the failing task on, where Ansible says so; else the end."""
    failed = [i for i, line in enumerate(lines) if "fatal:" in line or "[ERROR]" in line]
    if not failed:
        return lines[-15:]
    task = max((i for i in range(failed[0] + 1) if lines[i].startswith("TASK")), default=failed[0])
    return [line for line in lines[task : task + 30] if line.strip()]


def _remedy(text: str) -> str:
    if "No space left on device" in text:
        return "the disk is full: free some space (`docker system df` shows what docker holds)"
    return ""
