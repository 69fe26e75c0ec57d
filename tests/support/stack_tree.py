"""A copy of stacks/, images.yml and roles/ that tests may spoil, and the command line on it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bakehouse.layout import ROOT


@dataclass(frozen=True)
class StackTree:
    """The copy."""

    root: Path

    @property
    def cpu(self) -> Path:
        """stacks/cpu.yml."""
        return self.root / "stacks" / "cpu.yml"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `bakehouse` on it."""
        environment = {
            **os.environ,
            "BAKEHOUSE_ROOT": str(self.root),
            "BAKEHOUSE_STATE": str(self.root / "state"),
            "BAKEHOUSE_OUT": str(self.root / "out"),
            "COLUMNS": "200",
        }
        command = [sys.executable, "-m", "bakehouse", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def make(root: Path) -> StackTree:
    """Copy what stacks need."""
    shutil.copytree(ROOT / "stacks", root / "stacks")
    shutil.copy(ROOT / "images.yml", root)
    for name in ("roles", "playbooks", "containers"):
        (root / name).symlink_to(ROOT / name)
    return StackTree(root=root)
