"""Roles broken in one way each, to see whether their tests bite."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from mutant_waivers import EQUIVALENT, UNREACHED
from ruamel.yaml import YAML

from bakehouse.layout import ROLES

INERT = re.compile(
    r"(ansible\.builtin\.)?(include_\w+|import_\w+|set_fact|assert|fail|debug|meta|setup|stat|slurp|"
    r"find|getent|package_facts|service_facts|wait_for)$"
)
"""Modules that change nothing by themselves."""

KEYWORDS = {
    "name", "when", "register", "vars", "loop", "loop_control", "notify", "changed_when", "block",
    "failed_when", "check_mode", "environment", "until", "retries", "delay", "module_defaults",
    "rescue", "always", "listen", "args", "tags",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A change to one file of a role.

    Attributes:
        file: Path inside the role.
        what: What is broken, in words.
        text: The whole changed file.
    """

    role: str
    file: str
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.role}: {self.what}"

    def write(self, folder: Path) -> Path:
        """A copy of all roles with this change; returns its folder."""
        target = folder / "roles"
        shutil.copytree(ROLES, target)
        (target / self.role / self.file).write_text(self.text, encoding="utf-8")
        return target


def mutants(role: str) -> list[Mutant]:
    """At most three of a role: its first task skipped, its last one, and a wrong mode."""
    skipped = [m for m in _skipped(role) if (role, _task(m)) not in EQUIVALENT]
    modes = list(_wrong_modes(role))
    ends = skipped[:1] + skipped[-1:] if len(skipped) > 1 else skipped
    return [*ends, *modes[:1]]


def _task(mutant: Mutant) -> str:
    return mutant.what.removeprefix("without ")


def _skipped(role: str) -> Iterator[Mutant]:
    """Every mutant of a role that lacks one task."""
    for path in _reached(role):
        if path.name in {"main.yml", "set_vars.yml", "record.yml", "runtime.yml"}:
            continue
        count = len(list(_changing(_load(path))))
        for number in range(count):
            tasks = _load(path)
            holder, index = list(_changing(tasks))[number]
            name = holder[index]["name"]
            holder[index] = {
                "name": name,
                "ansible.builtin.set_fact": {"__skipped": True},
                **{k: holder[index][k] for k in ("register",) if k in holder[index]},
            }
            yield Mutant(
                role=role, file=f"tasks/{path.name}", what=f"without {name}", text=_dump(tasks)
            )


def _wrong_modes(role: str) -> Iterator[Mutant]:
    """Mutants in which one file has a mode that is too narrow."""
    for path in _reached(role):
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(r'mode: "0(644|755)"', text):
            changed = text[: found.start()] + 'mode: "0600"' + text[found.end() :]
            yield Mutant(
                role=role, file=f"tasks/{path.name}", what=f"mode in {path.name}", text=changed
            )


def _reached(role: str) -> list[Path]:
    """Files of tasks that the role's scenario runs."""
    every = sorted((ROLES / role / "tasks").glob("*.yml"))
    return [path for path in every if (role, path.name) not in UNREACHED]


def _changing(tasks: list[Any]) -> Iterator[tuple[list[Any], int]]:
    """Where the tasks that change something are: their list and their place in it."""
    for index, task in enumerate(tasks):
        for part in ("block", "rescue", "always"):
            if part in task:
                yield from _changing(task[part])
        module = next((key for key in task if key not in KEYWORDS), None)
        reads_only = task.get("changed_when") is False
        if module is not None and not INERT.match(module) and not reads_only:
            yield tasks, index


def _load(path: Path) -> Any:
    return YAML().load(path.read_text(encoding="utf-8"))


def _dump(tasks: Any) -> str:
    buffer = StringIO()
    YAML().dump(tasks, buffer)
    return buffer.getvalue()
