"""Building images once through a recording mirror: what they fetch is what the bundle has.

The builds have images' names, caches and results of their own, so that nothing that was fetched
earlier keeps a file from being recorded, and nothing of the user's is touched.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from bakehouse import engine, layout
from bakehouse.builder import inputs, rootfs
from bakehouse.builder.children import bound
from bakehouse.builder.supply import on_bridge
from bakehouse.builder.wheelhouse import Interpreter
from bakehouse.console import progress
from bakehouse.errors import (
    BakehouseError,
    BuildError,
    CheckError,
    DownloadError,
    HostError,
    InputError,
    RunError,
)
from bakehouse.images import Image
from bakehouse.mirror.recorder import Recording, RecordingHandler

NAMESPACE = "bakehouse-recording"
_ERRORS: dict[int, type[BakehouseError]] = {
    error.exit_status: error
    for error in (CheckError, InputError, HostError, DownloadError, BuildError, RunError)
}


class Builds:
    """Recorded builds, while their mirror is open."""

    def __init__(self, recording: Recording, address: str, namespace: str, state: Path) -> None:
        self.recording = recording
        self.address = address
        self.namespace = namespace
        self.state = state

    def build(self, image: Image, stack: str) -> None:
        """Build an image; what it stands on was built before.

        Raises:
            BakehouseError: As the build ended.
        """
        self.recording.now = f"image {image.name}"
        progress.print(f"[bold]recording {image.name}[/bold]")
        command = [sys.executable, "-m", "bakehouse", "build", image.name, "--no-cache"]
        of_stack = [] if image.kind == "rootfs" else ["--stack", stack]
        done = subprocess.run(
            bound([*command, *of_stack, "--mirror", self.address]),
            env={**os.environ, **self._places()},
            cwd=layout.ROOT,
            check=False,
        )
        if done.returncode == 130:
            raise KeyboardInterrupt
        if self.recording.failures:
            told = "\n".join(f"  {line}" for line in dict.fromkeys(self.recording.failures))
            raise DownloadError(
                f"what the build asked for could not be fetched:\n{told}",
                where=f"recording {image.name}",
                remedy="see whether the origin answers, then create again: what is there is kept",
            )
        if done.returncode != 0:
            raise _ERRORS.get(done.returncode, BuildError)(
                f"the build ended with status {done.returncode}, see above",
                where=f"recording {image.name}",
                remedy="correct it, then create again: what is there is kept",
            )

    def interpreter(self, base: Image) -> Interpreter:
        """The Python of a root file system that was built."""
        return inputs.interpreter_of(f"{self.namespace}/{base.name}:latest")

    def _places(self) -> dict[str, str]:
        return {
            "BAKEHOUSE_NAMESPACE": self.namespace,
            "BAKEHOUSE_STATE": str(self.state),
            "BAKEHOUSE_OUT": str(self.state / "out"),
            "BAKEHOUSE_ROOT": str(layout.ROOT),
        }


@contextmanager
def recorded(recording: Recording) -> Iterator[Builds]:
    """A recording mirror and a place for its builds; both are gone afterwards.

    Raises:
        HostError: No engine answers, or its bridge is not on this machine.
    """
    for left in engine.namespaces(NAMESPACE):
        if not Path(f"/proc/{left.split('-')[2]}").exists():
            engine.remove_namespace(left)
    namespace = f"{NAMESPACE}-{os.getpid()}-{uuid4().hex[:8]}"
    state = layout.STATE / "recording" / namespace
    state.mkdir(parents=True)
    collections = layout.STATE / "collections"
    if collections.is_dir():
        (state / "collections").symlink_to(collections.resolve())
    try:
        with on_bridge(recording, RecordingHandler) as address:
            yield Builds(recording, address, namespace, state)
    finally:
        engine.remove_namespace(namespace)
        shutil.rmtree(state, ignore_errors=True)


def sources(image: Image) -> tuple[str, ...]:
    """apt's sources of a root file system that can be recorded.

    Raises:
        InputError: None are known, or one is encrypted.
    """
    found = rootfs.sources(str(image.suite))
    encrypted = [line for line in found if line.split()[1].startswith("https:")]
    if encrypted or not found:
        raise InputError(
            f"this source cannot be recorded: {encrypted[0]}"
            if encrypted
            else f"this machine's apt has no source of {image.suite}",
            where=image.name,
            remedy=f"name an http mirror of the distribution in {rootfs.MIRROR}",
        )
    return tuple(found)
