"""A test case's image, the unittest files that run in it, and a run that loses a node."""

import json
import os
import subprocess
import sys
from pathlib import Path

from unittest_inside import output_of

from bakehouse import engine
from bakehouse.launch.case import load_case


class CaseUnderTest:
    """A test case in its image, which is built where it is missing."""

    def __init__(self, name: str, timeout_s: int) -> None:
        self.name, self.timeout_s = name, timeout_s
        variable = f"BAKEHOUSE_TEST_{name.upper().replace('-', '_')}_IMAGE"
        self.image = os.environ.get(variable, f"bakehouse/{name}:latest")
        self._said: dict[str, str] = {}
        if engine.image(self.image) is None:
            subprocess.run([sys.executable, "-m", "bakehouse", "build", f"case/{name}"], check=True)

    def said(self, module: str) -> str:
        """What unittest said about a file; each is run when somebody asks for it first."""
        if module not in self._said:
            folder = f"/opt/{self.name}"
            said = output_of(self.image, module, folder, timeout_s=self.timeout_s)
            self._said[module] = said
        return self._said[module]

    def demand_resume(self, folder: Path, *, after_step: int, resumed_at: int) -> None:
        """Kill a node of a run; assert that it goes on from its checkpoint as if nothing were.

        Args:
            folder: Of the results; it must not exist.
            after_step: The step that must be logged before the kill.
            resumed_at: That of the newest checkpoint then.
        """
        command = [sys.executable, "-m", "bakehouse", "run", self.name, "--image", self.image]
        kill = ["--kill-node", "1", "--kill-after-step", str(after_step)]
        done = subprocess.run(
            [*command, "--output", str(folder), *kill], check=False, timeout=self.timeout_s
        )
        assert done.returncode == 0
        record = json.loads((folder / "run.json").read_text())
        first, second = record["attempts"]
        assert first["killed"]["node"] == 1
        resumed = next(r for r in second["records"] if r["event"] == "resume")
        assert resumed["step"] == resumed_at
        before, after = (
            {r["step"]: r["loss"] for r in attempt["records"] if r["event"] == "step"}
            for attempt in (first, second)
        )
        again = before.keys() & after.keys()
        assert again
        assert {s: before[s] for s in again} == {s: after[s] for s in again}
        final, case = second["records"][-1], load_case(self.name)
        assert final["loss"] <= record["expected"]["loss"] == case.checks.loss
        assert final["held_out"] == case.dataset.held_out
