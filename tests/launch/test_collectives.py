"""`bakehouse bench collectives` with real processes in the image."""

import json
import subprocess
import sys

import pytest
from unittest_inside import demand_ok, names_of, output_of

from bakehouse import engine, layout

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def output(case_image: str) -> str:
    return output_of(case_image, "check_collectives", "/shared", mounts={layout.SHARED: "/shared"})


@pytest.mark.parametrize("name", names_of("check_collectives"))
def test_the_program(name: str, output: str) -> None:
    demand_ok("check_collectives", name, output)


def test_the_command_measures_in_a_container_and_leaves_none(case_image: str) -> None:
    before = {container.id for container in engine.connect().containers.list(all=True)}
    command = [sys.executable, "-m", "bakehouse", "bench", "collectives", "--image", case_image]
    sizes = ["--least", "1KiB", "--most", "4KiB", "--operations", "all_reduce,sendrecv"]
    done = subprocess.run(
        [*command, *sizes, "--json"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["measurements"]
    assert [(one["operation"], one["bytes"], one["wrong"]) for one in found] == [
        (operation, size, 0)
        for operation in ("all_reduce", "sendrecv")
        for size in (1024, 2048, 4096)
    ]
    mine = [
        container
        for container in engine.connect().containers.list(all=True)
        if container.id not in before and "collectives" in str(container.attrs["Args"])
    ]
    assert mine == []
