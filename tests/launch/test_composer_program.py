"""The mosaicml-composer test case, tested inside its image."""

import pytest
from case_under_test import CaseUnderTest
from unittest_inside import demand_ok, names_of

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def output() -> str:
    """What unittest says inside the image."""
    return CaseUnderTest("mosaicml-composer", 600).said("check_composer")


@pytest.mark.parametrize("name", names_of("check_composer"))
def test_inside_the_image(name: str, output: str) -> None:
    demand_ok("check_composer", name, output)
