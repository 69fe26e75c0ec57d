"""Machines that are not there: a folder for a root, and programs that answer as they are told."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakehouse.checks.host import IDENTITY, Host

TORCH = {
    "version": "2.13.0+cpu",
    "gloo": True,
    "nccl": False,
    "cuda": None,
    "threads": 2,
    "openmp": True,
    "mkldnn": True,
}
GOOD_IDENTITY = {
    "image": "cpu",
    "kind": "container",
    "build": "0a1b2c3d4e5f",
    "commit": "0" * 40,
    "os": {"id": "debian"},
    "stack": {"name": "cpu", "versions": {"pytorch_release": "2.13.0+cpu", "x_release": "1.2"}},
    "components": [
        {"component": "pytorch", "version": "2.13.0+cpu"},
        {"component": "x", "version": "1.2+fixture"},
    ],
}


@dataclass
class Machine(Host):
    """A host whose programs are told what to answer: status, output, errors."""

    answers: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    hangs: bool = False

    def run(self, *command: str, stdin: str = "") -> tuple[int, str, str]:
        """The answer to the first of the told words that is in the command."""
        del stdin
        if self.hangs:
            raise TimeoutError(f"{command[0]} did not end within {self.budget_s} s")
        for word, answer in self.answers.items():
            if any(word in part for part in command):
                return answer
        return 127, "", f"{command[0]}: not found"

    def write(self, path: str, text: str) -> None:
        """Leave a file."""
        file = Path(self.path(path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def identify(self, **changes: Any) -> None:
        """Leave an identity file."""
        self.write(IDENTITY, json.dumps({**GOOD_IDENTITY, **changes}))

    def has_torch(self, **changes: Any) -> None:
        """Have torch answer."""
        self.answers["import json, torch"] = (0, json.dumps({**TORCH, **changes}), "")
