"""Every role in a container with systemd: dry run, run, second run without a change, tests."""

import re

import pytest
from role_runs import Molecule

from bakehouse.layout import ROOT

pytestmark = pytest.mark.docker

SCENARIOS = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")} - {"default"}


# The fixture starts them in this order too; the long ones happen to be late in the alphabet.
@pytest.mark.parametrize("scenario", sorted(SCENARIOS, reverse=True))
def test_role_in_its_scenario(molecule: Molecule, scenario: str) -> None:
    status, output = molecule.result(scenario)
    assert status == 0, output
    assert re.search(r"\d+ passed(, \d+ skipped)? in ", output), f"no host test ran:\n{output}"
    left = [container.name for container in molecule.containers(scenario)]
    assert molecule.keep or left == []
