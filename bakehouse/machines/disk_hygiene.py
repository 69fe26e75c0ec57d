"""Does anything of the builder lie on a disk: seen in its file system, before its first boot."""

import fnmatch
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import bakehouse.checks.hygiene  # noqa: F401 - its import registers the checks
from bakehouse.checks import registry
from bakehouse.checks.host import Host
from bakehouse.checks.result import Result
from bakehouse.errors import HostError
from bakehouse.machines.write_disk import FIRST_SECTOR, SECTOR


@dataclass
class FileSystem(Host):
    """The files of a disk's partition, as checks look at a machine's; nothing is mounted.

    Attributes:
        disk: Raw.
    """

    disk: Path = Path()

    def read(self, path: str) -> str | None:
        """Text of a file; None if there is none."""
        if not self.matches(path):
            return None
        return self._ask(f"cat {path}")

    def matches(self, pattern: str) -> list[str]:
        """Paths that match a pattern of the shell's."""
        found = [""]
        for part in pattern.strip("/").split("/"):
            found = [f"{p}/{n}" for p in found for n in self._names(p) if fnmatch.fnmatch(n, part)]
        return sorted(found)

    def closed(self, pattern: str) -> list[str]:
        """Every folder can be looked into."""
        del pattern
        return []

    def has_booted(self) -> bool:
        """It has not yet."""
        return False

    def _names(self, folder: str) -> list[str]:
        """What is in a folder; nothing if it is none."""
        lines = self._ask(f"ls -p {folder or '/'}").splitlines()
        # Such as "/15/100644/0/0/authorized_keys/0/".
        names = [line.split("/")[5] for line in lines if line.count("/") >= 6]
        return [name for name in names if name not in {".", "..", ""}]

    def _ask(self, request: str) -> str:
        # Its folder is not on the path of ordinary users, who may use it all the same.
        program = shutil.which("debugfs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if program is None:
            raise HostError("debugfs is not installed", remedy="install e2fsprogs")
        address = f"{self.disk}?offset={FIRST_SECTOR * SECTOR}"
        done = subprocess.run(
            [program, "-R", request, address], capture_output=True, text=True, check=False
        )
        if "Filesystem not open" in done.stderr or "opening filesystem" in done.stderr:
            reason = f"its file system cannot be read: {done.stderr.strip()[-300:]}"
            raise HostError(reason, where=str(self.disk), remedy="make the disk again")
        return done.stdout


def results(disk: Path) -> list[Result]:
    """What the checks of the group hygiene find on a raw disk; they fail where none can look."""
    return registry.run(registry.select(["hygiene"], []), FileSystem(disk=disk))
