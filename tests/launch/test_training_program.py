"""train.py's parts, tested inside the image; each test of check_train.py reports by its name."""

import pytest
from unittest_inside import demand_ok, names_of, output_of

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def output(case_image: str) -> str:
    return output_of(case_image, "check_train", "/opt/cpu-ddp")


@pytest.mark.parametrize("name", names_of("check_train"))
def test_inside_the_image(name: str, output: str) -> None:
    demand_ok("check_train", name, output)
