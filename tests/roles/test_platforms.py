"""Roles whose vendors cannot be reached, on each system: run, second run, tests.

The systems and the vendors are stand-ins: what is tested is our names, keys, pins, package managers
and idempotence, never the vendors' software.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from role_runs import changed, failure
from stand_ins import SYSTEMS, StandIn, booted, scenario, stood_in_roles
from vendor_mirror.prepared import has_a_source

from bakehouse.layout import ROLES
from bakehouse.stacks import documents

# Every day molecule runs each role on ubuntu24.04.
pytestmark = [pytest.mark.docker, pytest.mark.slow]

CASES = [
    pytest.param(system, role, id=f"{system}-{role}")
    for system in SYSTEMS
    for role in stood_in_roles()
    if system in scenario(role).systems
]


@pytest.fixture
def machine(request: pytest.FixtureRequest, system: str, role: str) -> Iterator[StandIn]:
    """A fresh machine: what another role did to it would hide what this one forgets."""
    assert request.node
    with booted(scenario(role).stack, system) as stand_in:
        yield stand_in


@pytest.mark.parametrize(("system", "role"), CASES)
def test_role_on_a_system(
    machine: StandIn, system: str, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLECULE_SCENARIO_NAME", role)
    told = scenario(role)
    variables = machine.variables() | told.variables
    report = machine.apply(tmp_path, [*told.before, role], **variables)
    records = [variables[option] for option in required(role) if option in variables]
    message = failure(report, "target")
    # Where the vendor has nothing, the distribution may.
    if message and not all(has_a_source(record, system) for record in records):
        assert "only for" in message
        return
    assert message == ""
    again = machine.apply(tmp_path, [role], **variables)
    assert failure(again, "target") == ""
    assert changed(again, "target") == []
    assert machine.broken_promises([role], variables) == ""


def required(role: str) -> list[str]:
    """The records that a role asks for."""
    path = ROLES / role / "meta" / "argument_specs.yml"
    options = documents.load(path).data["argument_specs"]["main"]["options"]
    return [name for name in options if name.endswith("_release")]
