"""Machines that stand in for a distribution, with a mirror that stands in for its vendors."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker.models.containers import Container
from role_runs import play
from vendor_mirror import platforms
from vendor_mirror.mirror import Edition
from vendor_mirror.prepared import prepared, volumes

from bakehouse import engine
from bakehouse.layout import ROOT
from bakehouse.stacks import documents

SYSTEMS = ("ubuntu24.04", "amazon2023", "ubuntu22.04", "debian12")
STACK = "gpu-cuda13"
SETTINGS = "scenario_"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What molecule/<role>/vars.yml says.

    Attributes:
        role: The role.
        stack: The stack that its arguments come from.
        stood_in: Whether its vendor is stood in for.
        before: Roles that it builds upon.
        systems: Systems on which it can be tried.
        variables: Its other variables.
    """

    role: str
    stack: str
    stood_in: bool
    before: tuple[str, ...] = ()
    systems: tuple[str, ...] = SYSTEMS
    variables: dict[str, Any] = field(default_factory=dict)


def scenario(role: str) -> Scenario:
    """The scenario of a role."""
    path = ROOT / "molecule" / role / "vars.yml"
    given = documents.load(path).data if path.is_file() else {}
    return Scenario(
        role=role,
        stack=given.get("scenario_stack", "cpu"),
        stood_in=bool(given.get("scenario_system")),
        before=tuple(given.get("scenario_roles_before", ())),
        systems=tuple(given.get("scenario_only_on", SYSTEMS)),
        variables={k: v for k, v in given.items() if not k.startswith(SETTINGS)},
    )


def stood_in_roles() -> list[str]:
    """Roles whose vendors cannot be reached."""
    names = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
    return [name for name in names if scenario(name).stood_in]


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A running machine.

    Attributes:
        folder: The mirror's: stack.json, and stack-1.json and so on for other editions.
    """

    container: Container
    folder: Path

    def variables(self, edition: int = 0) -> dict[str, Any]:
        """The variables of the stack that belongs to the mirror."""
        name = f"stack-{edition}.json" if edition else "stack.json"
        found: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return found

    def apply(self, scratch: Path, roles: list[str], **variables: Any) -> dict[str, Any]:
        """Run roles on it; what Ansible reports."""
        tasks = [{"ansible.builtin.include_role": {"name": role}} for role in roles]
        return self.run(scratch, tasks, **variables)

    def run(self, scratch: Path, tasks: list[dict[str, Any]], **variables: Any) -> dict[str, Any]:
        """Run tasks on it; what Ansible reports."""
        hosts = {"target": {"ansible_connection": "docker", "ansible_host": self.container.name}}
        defaults = {"bakehouse_target": "machine", "bakehouse_package_lists_valid_s": 3600}
        return play(scratch, hosts, tasks, **(defaults | variables))


@contextmanager
def booted(stack: str, system: str, editions: tuple[Edition, ...] = ({},)) -> Iterator[StandIn]:
    """A machine that runs systemd, with the mirror mounted."""
    folder = prepared(stack, system, editions)
    mounts = [part.split(":") for part in [engine.cgroup_mount(), *volumes(folder, system)]]
    with engine.running_container(
        platforms.image(system),
        ["/lib/systemd/systemd"],
        cap_add=["SYS_ADMIN"],
        volumes={source: {"bind": target, "mode": mode} for source, target, mode in mounts},
        tmpfs={"/run": "", "/run/lock": ""},
    ) as container:
        engine.wait_for_systemd(container)
        if not system.startswith("amazon"):
            status, output = container.exec_run(["apt-get", "--quiet=2", "update"])
            assert status == 0, output.decode()
        yield StandIn(container=container, folder=folder)
