"""What checks may look at: files below a root, and programs with a time limit."""

from __future__ import annotations

import glob
import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import Any

IDENTITY = "/etc/bakehouse/image.json"
VENV_PYTHON = "/opt/venv/bin/python"

_TORCH_FACTS = """
import json, torch, torch.distributed as d
print(json.dumps({"version": torch.__version__, "gloo": d.is_gloo_available(),
 "nccl": d.is_nccl_available(), "cuda": torch.version.cuda, "threads": torch.get_num_threads(),
 "openmp": torch.backends.openmp.is_available(), "mkldnn": torch.backends.mkldnn.is_available()}))
"""


@dataclass
class Host:
    """The machine or container that is judged.

    Attributes:
        root: Prefix of every file, so that tests can stand in for a machine.
        identity_path: The image's identity file.
        run_path: run.json of a training run, if one is to be judged.
        environment: Environment variables.
        budget_s: Seconds that one program may take.
    """

    root: str = ""
    identity_path: str = IDENTITY
    run_path: str | None = None
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    budget_s: float = 60.0
    _memory: dict[str, Any] = field(default_factory=dict)

    def path(self, path: str) -> str:
        """A path below the root."""
        return self.root + path

    def read(self, path: str) -> str | None:
        """Text of a file; None if there is none."""
        try:
            with open(self.path(path), encoding="utf-8", errors="replace") as stream:
                return stream.read()
        except OSError:
            return None

    def matches(self, pattern: str) -> list[str]:
        """Paths that match a glob, without the root."""
        found = glob.glob(self.path(pattern), recursive=True)
        return sorted(name[len(self.root) :] for name in found)

    def closed(self, pattern: str) -> list[str]:
        """Folders on the way of a glob that this user may not look into, without the root."""
        parts = pattern.strip("/").split("/")
        found = []
        for number, part in enumerate(parts):
            wanted = os.X_OK | (os.R_OK if glob.has_magic(part) else 0)
            above = self.matches("/" + "/".join(parts[:number]))
            found += [
                folder
                for folder in above
                if os.path.isdir(self.path(folder)) and not os.access(self.path(folder), wanted)
            ]
        return sorted(set(found))

    def run(self, *command: str, stdin: str = "") -> tuple[int, str, str]:
        """Status, output and errors of a program; 127 if there is no such program.

        Raises:
            TimeoutError: It took longer than the budget.
        """
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=self.budget_s,
                check=False,
            )
        except FileNotFoundError:
            return 127, "", f"{command[0]}: not found"
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{command[0]} did not end within {self.budget_s} s") from None
        return done.returncode, done.stdout, done.stderr

    def identity(self) -> dict[str, Any] | None:
        """The image's identity; None if there is no file.

        Raises:
            ValueError: The file is not JSON.
        """
        text = self.read(self.identity_path)
        if text is None:
            return None
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"{self.identity_path} does not hold an object")
        return content

    def torch(self) -> dict[str, Any]:
        """Facts about torch, asked once; `error` where it cannot be imported.

        Raises:
            TimeoutError: The import did not end within the budget.
            ValueError: What was answered is not facts about torch.
        """
        if "torch" not in self._memory:
            try:
                self._memory["torch"] = self._torch()
            except (TimeoutError, ValueError) as error:
                self._memory["torch"] = error
        facts = self._memory["torch"]
        if isinstance(facts, Exception):
            raise facts
        return dict(facts)

    def _torch(self) -> dict[str, Any]:
        status, output, errors = self.run(VENV_PYTHON, "-c", _TORCH_FACTS)
        if status != 0:
            last = errors.strip().splitlines()[-1:] or [f"status {status}"]
            return {"error": last[0]}
        facts = json.loads((output.strip().splitlines() or [""])[-1])
        if not isinstance(facts, dict) or "version" not in facts:
            raise ValueError(f"{VENV_PYTHON} does not say which torch it has")
        return facts

    def is_container(self) -> bool:
        """Whether this is a container, whose kernel belongs to another machine."""
        return os.path.exists(self.path("/.dockerenv")) or os.path.exists(
            self.path("/run/.containerenv")
        )

    def has_booted(self) -> bool:
        """Whether an init system has run here, which makes keys and logs of its own."""
        return os.path.isdir(self.path("/run/systemd/system"))
