"""Every role broken in one way: what is wrong must be seen by the role itself or by its tests."""

import copy
from pathlib import Path
from typing import Any

import pytest
from mutant_waivers import EQUIVALENT, LATER_HELP, UNREACHED
from mutants import Mutant, mutants
from role_runs import failure
from stand_ins import StandIn, booted, converge, failed, scenario

from bakehouse.layout import ROLES

pytestmark = [pytest.mark.docker, pytest.mark.slow]

NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())
JUDGED = [name for name in NAMES if name not in LATER_HELP]
MUTANTS = [mutant for name in JUDGED for mutant in mutants(name)]


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_broken_role_is_caught(
    mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLECULE_SCENARIO_NAME", mutant.role)
    told = scenario(mutant.role)
    with booted(told.stack, told.system) as machine:
        report = converge(machine, told, tmp_path, roles=mutant.write(tmp_path))
        if failure(report, "target"):
            return
        assert failed_tests(machine, mutant.role, machine.variables()) != ""


@pytest.mark.parametrize("role", JUDGED)
def test_a_sound_role_passes_and_another_version_does_not(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLECULE_SCENARIO_NAME", role)
    told = scenario(role)
    with booted(told.stack, told.system) as machine:
        assert failure(converge(machine, told, tmp_path), "target") == ""
        variables = machine.variables()
        assert failed_tests(machine, role, variables) == ""
        if f"{role}_release" in variables:
            other = copy.deepcopy(variables)
            other[f"{role}_release"]["version"] = "0.0.1"
            assert failed_tests(machine, role, other) != ""


def failed_tests(machine: StandIn, role: str, variables: dict[str, Any]) -> str:
    """Which of the role's host tests fail where this is the stack."""
    # What cleans for the next boot is judged before it, by its own tests.
    return failed(machine.judged([role], variables, booted=role != "image_cleanup"))


def test_most_roles_have_mutants() -> None:
    assert len({mutant.role for mutant in MUTANTS}) >= len(JUDGED) * 3 // 4


def test_waivers_speak_of_tasks_that_exist() -> None:
    texts = {name: "".join(p.read_text() for p in (ROLES / name).glob("tasks/*")) for name in NAMES}
    assert [key for key in EQUIVALENT if key[1] not in texts.get(key[0], "")] == []
    assert [key for key in UNREACHED if not (ROLES / key[0] / "tasks" / key[1]).is_file()] == []
