"""The only module that starts Packer."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bakehouse import layout
from bakehouse.builder.buildkit import Step
from bakehouse.builder.children import bound
from bakehouse.builder.failures import relevant_lines
from bakehouse.builder.progress import show
from bakehouse.builder.result import Layer
from bakehouse.errors import BuildError
from bakehouse.machines import judgement, template
from bakehouse.machines.output import Output

_LOOK_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Call:
    """One `packer build`.

    Attributes:
        image: Name of the image.
        stack: Name of the stack that it is baked of.
        layers: Its roles as planned.
        only: Kind of source: `docker`, `amazon-ebs`.
        given: Values of the template's variables.
        temporary: Folder for temporary files, removed by who made it.
        log: Where all goes that Packer says.
        end_s: Seconds that an ended Packer has for putting things away.
        judged: Where the judge writes what it finds.
        left_out: Post-processors that do not run.
    """

    image: str
    stack: str
    layers: list[Layer]
    only: str
    given: Mapping[str, object]
    temporary: Path
    log: Path
    end_s: float
    judged: Path
    left_out: Sequence[str] = ()

    def command(self) -> list[str]:
        """What is started.

        Raises:
            HostError: There is no Packer, or it is too old.
        """
        folder = template.readable(self.temporary / "template", template.installed())
        given = {"root": layout.ROOT, **self.given}
        options = [part for name, text in given.items() for part in ("-var", f"{name}={text}")]
        options += [f"-except={name}" for name in self.left_out]
        return ["packer", "build", "-color=false", f"-only=*.{self.only}.*", *options, str(folder)]


def run(call: Call) -> dict[str, Step]:
    """Run Packer to its end, or end it; returns the roles by name.

    Raises:
        BuildError: A role failed, or something before it, or what the machine was judged by.
        HostError: There is no Packer, or it is too old.
    """
    call.judged.unlink(missing_ok=True)
    roles = [layer.name for layer in call.layers]
    with show(call.image, call.layers) as on_event, _started(call) as process:
        output = Output(roles, on_event)
        for line in _lines(call.log, process):
            output.read(line)
        if process.returncode == 0:
            output.close_role()
            return output.steps
    refused = judgement.refusal(call.image, call.judged, call.log, output.steps)
    if refused is not None:
        raise refused
    role = f", role {output.reached}" if output.reached else ""
    text = "\n".join(relevant_lines(list(output.lines)))
    raise BuildError(
        f"the bake failed:\n{text}",
        where=f"{call.image}{role}",
        remedy=f"correct it and build again; all that Packer said is in {call.log}",
    )


def environment(temporary: Path) -> dict[str, str]:
    """Environment of Packer, and so of the Ansible that it starts."""
    mitogen = find_spec("ansible_mitogen")
    assert mitogen is not None, "requirements/runtime.txt has it"
    strategies = Path(str(mitogen.origin)).parent / "plugins" / "strategy"
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # An interrupted Packer leaves its private key where temporary files go.
        "TMPDIR": str(temporary),
        # A bake took 154 s without mitogen and 119 s with it, on two busy cores.
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_STRATEGY_PLUGINS": str(strategies),
        "ANSIBLE_COLLECTIONS_PATH": str(layout.STATE / "collections"),
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
        "CHECKPOINT_DISABLE": "1",
    }


def _lines(log: Path, process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines of a log as a process writes them, until it has ended."""
    with log.open(encoding="utf-8", errors="replace") as stream:
        line = ""
        while True:
            ended = process.poll() is not None
            part = stream.readline()
            line += part
            if line.endswith("\n") or (line and ended and not part):
                yield line
                line = ""
            elif ended and not part:
                return
            elif not part:
                time.sleep(_LOOK_S)


@contextmanager
def _started(call: Call) -> Iterator[subprocess.Popen[bytes]]:
    """Packer in a session of its own, where only we end it: a second signal makes it leave things.

    Should we be killed, the kernel ends it, and it puts away what it made. It writes to a file
    since it would then die of a broken pipe instead.
    """
    command: Sequence[str] = bound(call.command())
    judge = judgement.environment(call.image, call.stack, time.time(), call.judged)
    with call.log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment(call.temporary), **judge},
            cwd=layout.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=call.end_s)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
