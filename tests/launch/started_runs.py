"""Starting `bakehouse run` as a user does, and what is left of it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONG_ENOUGH_S = 300


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A `bakehouse run` that has ended."""

    folder: Path
    status: int
    stdout: str
    stderr: str

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json."""
        return dict(json.loads((self.folder / "run.json").read_text()))


class Runner:
    """Starts `bakehouse run` as a user does."""

    def __init__(self, image: str, case: str = "cpu-ddp") -> None:
        self.image, self.case = image, case

    def command(self, folder: Path, *options: str) -> list[str]:
        """The command line of a run that writes to a folder."""
        command = [sys.executable, "-m", "bakehouse", "run", self.case, "--image", self.image]
        return [*command, "--output", str(folder), *options]

    def start(self, folder: Path, *options: str) -> subprocess.Popen[str]:
        """A run under way."""
        return subprocess.Popen(
            self.command(folder, *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, folder: Path, *options: str) -> Finished:
        """A run to its end."""
        done = subprocess.run(
            self.command(folder, *options),
            capture_output=True,
            text=True,
            timeout=LONG_ENOUGH_S,
            check=False,
        )
        return Finished(
            folder=folder, status=done.returncode, stdout=done.stdout, stderr=done.stderr
        )
