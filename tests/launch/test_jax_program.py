"""The jax test case, tested inside its image."""

import os
import subprocess
import sys

import pytest
from unittest_inside import demand_ok, names_of, output_of

from bakehouse import engine

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def output() -> str:
    """What unittest said in the image, which is built where it is missing."""
    reference = os.environ.get("BAKEHOUSE_TEST_JAX_IMAGE", "bakehouse/jax:latest")
    if engine.image(reference) is None:
        subprocess.run([sys.executable, "-m", "bakehouse", "build", "jax"], check=True)
    return output_of(reference, "check_jax", "/opt/jax", timeout_s=600)


@pytest.mark.parametrize("name", names_of("check_jax"))
def test_inside_the_image(name: str, output: str) -> None:
    demand_ok("check_jax", name, output)
