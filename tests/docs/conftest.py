"""Copies of the repository in which the steps of how-to pages are done."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import documented_steps
import pytest

from bakehouse.layout import ROOT


@dataclass(frozen=True)
class Copy:
    """A copy of the repository after the steps of a page."""

    root: Path
    touched: list[str]
    environment: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def bakehouse(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run our command line on it."""
        return self.run(sys.executable, "-m", "bakehouse", *arguments)


@pytest.fixture(scope="session")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Copy]:
    """Follow a page of docs/ in a new copy."""

    def follow(page: str) -> Copy:
        root = tmp_path_factory.mktemp(page.removesuffix(".md")) / "repository"
        documented_steps.copy_repository(root)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "BAKEHOUSE_ROOT": str(root),
            "BAKEHOUSE_STATE": str(root / ".bakehouse"),
            "BAKEHOUSE_OUT": str(root / "out"),
            "PYTHONPATH": str(root),
        }
        touched = documented_steps.follow(ROOT / "docs" / page, root, environment)
        return Copy(root=root, touched=touched, environment=environment)

    return follow
