"""The jax test case, tested inside its image."""

import pytest
from case_under_test import CaseUnderTest
from unittest_inside import demand_ok, names_of

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def output() -> str:
    """What unittest says inside the image."""
    return CaseUnderTest("jax", 600).said("check_jax")


@pytest.mark.parametrize("name", names_of("check_jax"))
def test_inside_the_image(name: str, output: str) -> None:
    demand_ok("check_jax", name, output)
