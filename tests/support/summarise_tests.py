"""Writes docs/test-report.md from the JUnit XML of a whole test session.

python tests/support/summarise_tests.py out/test-all.xml docs/test-report.md
"""

import os
import platform
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

STATES = ("passed", "failed", "skipped")
SLOWEST = 10


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test: its module, its name, how it ended, seconds, and why it was skipped."""

    module: str
    name: str
    state: str
    seconds: float
    why: str

    @property
    def area(self) -> str:
        """The folder of tests/ that it is in."""
        return "/".join(self.module.split(".")[:2])


def read(path: Path) -> list[Case]:
    """The tests of a session."""
    cases = []
    for element in ET.parse(path).iter("testcase"):
        skipped = element.find("skipped")
        failed = element.find("failure") is not None or element.find("error") is not None
        state = "failed" if failed else "passed" if skipped is None else "skipped"
        cases.append(
            Case(
                module=element.get("classname", ""),
                name=element.get("name", ""),
                state=state,
                seconds=float(element.get("time", "0")),
                why="" if skipped is None else skipped.get("message", ""),
            )
        )
    return cases


def commit() -> str:
    """The commit that was tested."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def machine() -> str:
    """What the tests ran on."""
    release = platform.freedesktop_os_release()["PRETTY_NAME"]
    kernel = platform.release().split("-")[0]
    return f"{release}, {os.cpu_count()} cores, {platform.machine()}, Linux {kernel}"


def render(cases: list[Case]) -> str:
    """The page."""
    areas: dict[str, Counter[str]] = {}
    for case in cases:
        areas.setdefault(case.area, Counter())[case.state] += 1
    seconds = sum(case.seconds for case in cases)
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit `{commit() or 'unknown'}`"
    lines = [
        "# Last result of `make test-all`",
        "",
        f"{when}, on {machine()}; {seconds / 60:.0f} minutes. Written by `make test-all`.",
        "",
        "| tests | passed | failed | skipped |",
        "|---|---|---|---|",
    ]
    total: Counter[str] = sum(areas.values(), Counter())
    for name, counts in [*sorted(areas.items()), ("**all**", total)]:
        lines.append(f"| {name} | {' | '.join(str(counts[state]) for state in STATES)} |")
    failed = [f"- `{c.module}::{c.name}`" for c in cases if c.state == "failed"]
    reasons = Counter(case.why for case in cases if case.state == "skipped")
    skipped = [f"- {why} ({number})" for why, number in sorted(reasons.items())]
    slowest = sorted(cases, key=lambda case: -case.seconds)[:SLOWEST]
    for title, entries in (
        ("Failed", failed),
        ("Skipped, and why", skipped),
        ("Slowest", [f"- {c.seconds:.0f} s `{c.module}::{c.name}`" for c in slowest]),
    ):
        if entries:
            lines += ["", f"## {title}", "", *entries]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(render(read(Path(sys.argv[1]))), encoding="utf-8")
