"""Roles broken in one way each, to see whether their tests bite."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

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

LATER_HELP = {
    "component": "what it does is judged by the tests of the roles that include it",
    "fetch": "as component",
}
"""Roles without an effect of their own, and why they are left out."""

EQUIVALENT: dict[tuple[str, str], str] = {
    ("docker", "Make the directory of the configuration"): "Debian's package brings it",
    ("neuron_driver", "Load the module on boot"): "the script of AWS's package does too",
    ("aws_ofi_nccl", "Let the loader find it"): "AWS's installer does too",
    ("aws_ofi_nccl", "Tell the loader"): "as above",
    ("image_cleanup", "Forget the builder's name"): "Docker's own /etc/hosts has no such line",
    (
        "nvidia_nccl",
        "Let programs find a library that is not in the system's folders",
    ): "that of packages is in them",
    ("pyxis", "Make the folder of plugins"): "the role slurm makes it too",
    ("pyxis", "Have Slurm read the folder"): "as above",
    ("slurm", "Make the folders of the configuration"): "Debian's packages bring them",
    ("slurm", "Have Slurm load what other roles put into the folder of plugins"): "as above",
    ("node_exporter", "Start it on boot"): "Debian's package does too",
    ("image_cleanup", "Keep the random seed from being saved when this machine shuts down"): (
        "the service does not run in a container"
    ),
    ("image_cleanup", "Keep the journal in memory from here on"): "seen only after a reboot",
}
"""Role and task whose absence makes no difference in the scenario, each with its reason."""

UNREACHED: dict[tuple[str, str], str] = {
    ("aws_ofi_nccl", "build.yml"): "the scenario's is the installer's; test_aws_tools builds one",
    ("docker", "daemon_part.yml"): "for other roles; test_docker_daemon runs it with them",
    (
        "node_exporter",
        "install_archive.yml",
    ): "of the distribution there; test_exporters unpacks it",
    ("nvidia_cuda", "install_wheels.yml"): "packages there; test_cuda installs wheels",
    ("nvidia_driver", "install_runfile.yml"): "packages there; nothing runs the vendor's installer",
    ("nvidia_fabric_manager", "lock_dnf.yml"): "apt there; test_platforms runs it",
    ("nvidia_nccl", "install_source.yml"): "packages there; test_cuda builds it",
    ("nvidia_nccl", "install_wheels.yml"): "packages there; test_cuda installs wheels",
    ("packages", "dnf.yml"): "apt there; test_dnf runs it",
}
"""Role and file of tasks that the role's scenario does not run, and who does instead."""


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
    modes = [m for m in _wrong_modes(role) if (role, m.what) not in EQUIVALENT]
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
