"""Sending the probe to a target over standard input, and reading its one line of JSON."""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakehouse.errors import BakehouseError, CheckError, HostError
from bakehouse.versions.targets import Target

PROBE = Path(__file__).with_name("probe.py")
SCHEMA = 1
MOST_BYTES = 8 << 20
"""What a target may write; one that writes without end is ended there."""

SSH_FAILED = 255
MISSING = (126, 127)
_PYTHON = ("python3", "-I", "-S", "-")
"""Nothing of that place is imported but the standard library; its site may be slow or broken."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How targets are reached.

    Attributes:
        timeout_s: Seconds for one target, from start to end.
        ssh: The ssh program.
        ssh_options: Options given to it, as `-o` takes them.
    """

    timeout_s: float = 30.0
    ssh: str = "ssh"
    ssh_options: tuple[str, ...] = ()

    @property
    def connect_s(self) -> int:
        """Seconds until ssh gives up a host that does not answer."""
        return max(1, min(10, int(self.timeout_s // 3)))

    @property
    def probe_s(self) -> float:
        """Seconds that the probe has once it is there."""
        return round(max(1.0, self.timeout_s - self.connect_s - 2), 1)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one target said, or why it said nothing."""

    target: Target
    seconds: float
    content: dict[str, Any] | None = None
    error: BakehouseError | None = None


@dataclass
class Children:
    """Programs that run now, so that an interrupt can end them: each is a session of its own."""

    running: set[int] = field(default_factory=set)
    lock: Any = field(default_factory=threading.RLock)  # a signal may come while we hold it
    closed: bool = False

    def end(self) -> None:
        """End all of them, and let none start."""
        with self.lock:
            self.closed = True
            for pid in self.running:
                with suppress(OSError):
                    os.killpg(pid, signal.SIGKILL)

    def refuse_if_ended(self) -> None:
        """Raise CheckError after `end`."""
        if self.closed:
            raise CheckError("interrupted")


def ask(target: Target, way: Way, children: Children) -> Answer:
    """Ask one target; every failure is in the answer."""
    started = time.monotonic()
    content, failed = None, None
    try:
        children.refuse_if_ended()
        content = _content(target, _asked(target, way, children))
    except BakehouseError as error:
        failed = error
    seconds = round(time.monotonic() - started, 2)
    return Answer(target=target, seconds=seconds, content=content, error=failed)


def ssh_command(target: Target, way: Way) -> list[str]:
    """The command line that runs the probe on a host."""
    command = [way.ssh, "-o", "BatchMode=yes", "-o", f"ConnectTimeout={way.connect_s}"]
    for option in way.ssh_options:
        command += ["-o", option]
    if target.port is not None:
        command += ["-p", str(target.port)]
    host = f"{target.user}@{target.address}" if target.user else target.address
    return [*command, "--", host, " ".join([*_PYTHON, "--limit", str(way.probe_s)])]


def _asked(target: Target, way: Way, children: Children) -> str:
    if target.kind == "image":
        from bakehouse import engine  # noqa: PLC0415 - docker's library loads only for images

        options = [*_PYTHON, "--image", "--limit", str(way.probe_s)]
        program = PROBE.read_bytes()
        try:
            return engine.answer(target.address, options, stdin=program, timeout_s=way.timeout_s)
        except HostError as error:
            if "executable file not found" in error.what:
                raise CheckError(
                    "there is no python3 in the image", remedy="install Python 3.9 or newer in it"
                ) from error
            raise
    if target.kind == "local":
        return _run([sys.executable, *_PYTHON[1:], "--limit", str(way.probe_s)], way, children)
    return _run(ssh_command(target, way), way, children)


def _environment() -> dict[str, str]:
    """Ours, but for the virtual environment that we run in: this machine is asked, not that."""
    own = str(Path(sys.prefix) / "bin") if sys.prefix != sys.base_prefix else None
    folders = [f for f in os.environ.get("PATH", "").split(os.pathsep) if f != own]
    return {**os.environ, "PATH": os.pathsep.join(folders)}


def _run(command: list[str], way: Way, children: Children) -> str:
    """Standard output of a program that is given the probe.

    Files and not pipes: ssh's shared connections stay behind and would hold a pipe open.
    """
    with (
        PROBE.open("rb") as program,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        process = _started(command, program, output, errors, children)
        try:
            status = process.wait(way.timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            with children.lock:
                children.running.discard(process.pid)
        output.seek(0)
        errors.seek(0)
        text = output.read().decode("utf-8", "replace")
        if status != 0:
            said = errors.read(4000).decode("utf-8", "replace")
            raise _failure(status, said.strip() or text.strip()[-400:], way)
        return text


def _started(
    command: list[str], program: Any, output: Any, errors: Any, children: Children
) -> "subprocess.Popen[bytes]":
    with children.lock:
        children.refuse_if_ended()
        try:
            process = subprocess.Popen(
                command,
                stdin=program,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                env=_environment(),
            )
        except FileNotFoundError as error:
            raise HostError(
                f"{command[0]} is not installed",
                remedy="install your distribution's openssh-client, or name another --ssh-program",
            ) from error
        except PermissionError as error:
            raise HostError(
                f"{command[0]} cannot be started", remedy="make it executable"
            ) from error
        children.running.add(process.pid)
    with suppress(OSError):
        most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MOST_BYTES, most))
    return process


def _failure(status: int | None, said: str, way: Way) -> BakehouseError:
    last = (said.splitlines() or ["it said nothing"])[-1].strip()[:300]
    if status is None:
        return CheckError(
            f"no answer within {way.timeout_s:g} s", remedy="look at the host, or raise --timeout"
        )
    if status == SSH_FAILED:
        return CheckError(last, remedy="try `ssh -o BatchMode=yes` to this host yourself")
    if status in MISSING:
        return CheckError(f"no python3 there: {last}", remedy="install Python 3.9 or newer there")
    if status == -signal.SIGXFSZ:
        return CheckError(
            "it writes without end", remedy="see what its shell's start-up files print"
        )
    return CheckError(
        f"the probe ended with {status}: {last}", remedy="see whether `python3 -V` runs there"
    )


def _content(target: Target, text: str) -> dict[str, Any]:
    """The probe's answer: the last line that is one, since login shells print greetings.

    Raises:
        CheckError: There is none.
    """
    for line in reversed(text.splitlines()):
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict) and content.get("bakehouse_versions") == SCHEMA:
            if "error" in content:
                raise CheckError(f"the probe failed there: {content['error']}")
            return content
    last = (text.strip().splitlines() or ["nothing"])[-1][:200]
    raise CheckError(
        f"this is no answer of the probe: {last}",
        remedy=f"see what `python3` is there: {target.name}",
    )
