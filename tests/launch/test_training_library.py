"""containers/shared/training, tested where torch is: inside an image."""

import pytest
from unittest_inside import demand_ok, names_of, output_of

from bakehouse import layout

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def output(case_image: str) -> str:
    return output_of(
        case_image, "check_training_library", "/shared", mounts={layout.SHARED: "/shared"}
    )


@pytest.mark.parametrize("name", names_of("check_training_library"))
def test_the_shared_library(name: str, output: str) -> None:
    demand_ok("check_training_library", name, output)
