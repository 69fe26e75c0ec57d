"""The recipes of the nemo-run test case, made by the real NeMo 2 inside its image."""

import pytest
from case_under_test import CaseUnderTest
from unittest_inside import demand_ok, names_of

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def nemo_said() -> str:
    return CaseUnderTest("nemo-run", 600).said("check_nemo_run")


@pytest.mark.parametrize("name", names_of("check_nemo_run"))
def test_with_the_real_nemo(name: str, nemo_said: str) -> None:
    demand_ok("check_nemo_run", name, nemo_said)
