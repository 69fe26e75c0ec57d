"""Machines that stand in for a distribution, with a mirror that stands in for its vendors."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from docker.models.containers import Container
from role_runs import play
from vendor_mirror import platforms
from vendor_mirror.mirror import Edition
from vendor_mirror.prepared import AVAILABLE, prepared, volumes

from bakehouse import host_tests
from bakehouse.builder import wheelhouse
from bakehouse.images import load_images
from bakehouse.layout import ROLES, ROOT
from bakehouse.stacks import documents
from bakehouse.stacks.stack import load_stack
from bakehouse.systemd import booted_container

SYSTEMS = ("ubuntu24.04", "amazon2023", "ubuntu22.04", "debian12")
STACK = "gpu-cuda13"
SETTINGS = "scenario_"
WHEELS = "/wheelhouse"
BAKING = {
    "bakehouse_target": "machine",
    "bakehouse_package_lists_valid_s": 3600,
    "bakehouse_wheelhouse": WHEELS,
}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What molecule/<role>/vars.yml says.

    Attributes:
        role: The role.
        stack: The stack that its arguments come from.
        system: The system; debian12 where nothing is stood in for.
        stood_in: Whether its vendor is stood in for.
        before: Roles that it builds upon.
        systems: Systems on which it can be tried.
        variables: Its other variables.
    """

    role: str
    stack: str
    system: str
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
        system=given.get("scenario_system") or "debian12",
        stood_in=bool(given.get("scenario_system")),
        before=tuple(given.get("scenario_roles_before", ())),
        systems=tuple(given.get("scenario_only_on", SYSTEMS)),
        variables={k: v for k, v in given.items() if not k.startswith(SETTINGS)},
    )


def stood_in_roles() -> list[str]:
    """Roles whose vendors cannot be reached."""
    names = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
    return [name for name in names if scenario(name).stood_in]


def setting(playbook: str) -> tuple[str, tuple[str, ...]]:
    """The stack and the systems that an image's playbook is tried with."""
    image = next((i for i in load_images().values() if i.playbook == playbook), None)
    if image is not None and image.stack is not None:
        return image.stack, ("ubuntu24.04", "amazon2023") if image.ami else ("debian12",)
    return "neuron", ("ubuntu24.04", "amazon2023")


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

    def run(
        self, scratch: Path, tasks: list[dict[str, Any]], *, roles: Path = ROLES, **variables: Any
    ) -> dict[str, Any]:
        """Run tasks on it; what Ansible reports."""
        return play(scratch, {"target": self.reached}, tasks, roles=roles, **(BAKING | variables))

    def said(self, *command: str) -> str:
        """What a command prints on it, which must succeed."""
        status, output = self.container.exec_run([*command])
        assert status == 0, output.decode()[-4000:]
        return str(output.decode().strip())

    def judged(
        self,
        roles: list[str],
        variables: dict[str, Any],
        *,
        target: str = "machine",
        booted: bool = True,
    ) -> host_tests.Verdict:
        """What the host tests of roles find where these variables are the stack."""
        stack: Any = SimpleNamespace(variables=variables, records={})
        host = host_tests.container(str(self.container.name))
        return host_tests.run(host, roles, stack, target=target, booted=booted)

    def broken_promises(
        self, roles: list[str], variables: dict[str, Any], *, target: str = "machine"
    ) -> str:
        """Which host tests of roles fail and why, a line each; some must pass."""
        verdict = self.judged(roles, variables, target=target)
        assert any(result.status == "pass" for result in verdict.results), failed(verdict)
        return failed(verdict)

    @property
    def reached(self) -> dict[str, Any]:
        """How Ansible reaches it."""
        return {"ansible_connection": "docker", "ansible_host": self.container.name}


def converge(
    machine: StandIn, told: Scenario, scratch: Path, *, roles: Path = ROLES
) -> dict[str, Any]:
    """Prepare a machine as the scenario does, and run its role."""
    prepared_by = ROOT / "molecule" / told.role / "prepare_tasks.yml"
    tasks: list[dict[str, Any]] = []
    if prepared_by.is_file():
        tasks.append({"ansible.builtin.include_tasks": str(prepared_by)})
    tasks += [{"ansible.builtin.include_role": {"name": r}} for r in (*told.before, told.role)]
    return machine.run(scratch, tasks, roles=roles, **(machine.variables() | told.variables))


def failed(verdict: host_tests.Verdict) -> str:
    """Which tests of a machine failed and why, a line each."""
    return "\n".join(f"{r.id}: {r.reason}" for r in verdict.results if r.status == "fail")


@contextmanager
def booted(stack: str, system: str, editions: tuple[Edition, ...] = ({},)) -> Iterator[StandIn]:
    """A machine that runs systemd, with the mirror mounted."""
    folder = prepared(stack, system, editions)
    wheels = f"{wheelhouse.prepare(load_stack(AVAILABLE))}:{WHEELS}:ro"
    mounts = (wheels, *volumes(folder, system))
    with booted_container(platforms.image(system), mounts=mounts) as container:
        if not system.startswith("amazon"):
            status, output = container.exec_run(["apt-get", "--quiet=2", "update"])
            assert status == 0, output.decode()
        yield StandIn(container=container, folder=folder)
