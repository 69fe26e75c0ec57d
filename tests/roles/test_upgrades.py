"""From one stack to the next and back: what is there afterwards is what the stack says."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from role_runs import failure
from stand_ins import STACK, StandIn, booted, scenario, stood_in_roles

from bakehouse.stacks.records import RepositoriesRecord, RepositoryRecord
from bakehouse.stacks.stack import load_stack

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SYSTEMS = ["ubuntu24.04", "amazon2023"]
THIS, EARLIER = 0, 1


def earlier(version: str) -> str:
    """A version whose last number that is not zero is one less: 595.91.07 -> 595.91.06."""
    *_, last = (match for match in re.finditer(r"\d+", version) if int(match[0]))
    less = str(int(last[0]) - 1).zfill(len(last[0]))
    return version[: last.start()] + less + version[last.end() :]


def editions() -> tuple[dict[str, str], dict[str, str]]:
    """The stack, and the same with an earlier version of everything from a repository."""
    kinds = (RepositoryRecord, RepositoriesRecord)
    records = load_stack(STACK).records.items()
    return {}, {n: earlier(record.version) for n, record in records if isinstance(record, kinds)}


def upgradable() -> list[str]:
    """Roles whose package comes from a vendor's repository of this stack."""
    changed = editions()[EARLIER]
    roles = [role for role in stood_in_roles() if scenario(role).stack == STACK]
    return [role for role in roles if f"{role}_release" in changed]


@pytest.fixture(params=SYSTEMS)
def machine(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    """A fresh machine, with both editions in its mirror."""
    with booted(STACK, request.param, editions()) as stand_in:
        yield stand_in


@pytest.mark.parametrize("role", upgradable())
def test_an_upgrade_and_a_downgrade(machine: StandIn, role: str, tmp_path: Path) -> None:
    told = scenario(role)
    for edition in (EARLIER, THIS, EARLIER):
        variables = machine.variables(edition) | told.variables
        report = machine.apply(tmp_path, [*told.before, role], **variables)
        message = failure(report, "target")
        if "only for" in message:
            pytest.skip("the vendor has nothing for this system")
        assert message == ""
        assert machine.broken_promises([role], variables) == ""


def test_an_earlier_version_is_one_less() -> None:
    assert earlier("595.91.07") == "595.91.06"
    assert earlier("4.6.0") == "4.5.0"
