"""The jax test case, tested inside its image."""

from pathlib import Path

import pytest
from case_under_test import CaseUnderTest
from unittest_inside import demand_ok, names_of

AT_MOST_S = 900
pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def output() -> str:
    """What unittest says inside the image."""
    return CaseUnderTest("jax", AT_MOST_S).said("check_jax")


@pytest.mark.parametrize("name", names_of("check_jax"))
def test_inside_the_image(name: str, output: str) -> None:
    demand_ok("check_jax", name, output)


def test_a_killed_node_and_a_resume(tmp_path: Path) -> None:
    jax = CaseUnderTest("jax", AT_MOST_S)
    jax.demand_resume(tmp_path / "run", after_step=40, resumed_at=30)
