"""The picotron test case, tested inside its image; each test of in_container/ reports."""

import json

import pytest
from case_under_test import CaseUnderTest
from unittest_inside import demand_ok, names_of

from bakehouse import engine

EVERY_DAY = ("check_picotron", "check_picotron_runs")
LONG = "check_picotron_long"
AT_MOST_S = 400

pytestmark = [pytest.mark.docker, pytest.mark.lengthy]


@pytest.fixture(scope="module")
def picotron() -> CaseUnderTest:
    return CaseUnderTest("picotron", AT_MOST_S)


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in EVERY_DAY for name in names_of(module)]
)
def test_inside_the_image(module: str, name: str, picotron: CaseUnderTest) -> None:
    demand_ok(module, name, picotron.said(module))


@pytest.mark.slow
@pytest.mark.parametrize("name", names_of(LONG))
def test_at_length_inside_the_image(name: str, picotron: CaseUnderTest) -> None:
    demand_ok(LONG, name, picotron.said(LONG))


def test_a_full_disk_leaves_the_checkpoint_before(picotron: CaseUnderTest) -> None:
    """A checkpoint of both processes takes 1.7 MB: there is room for two, and not for three."""
    train = "torchrun --standalone --nproc-per-node=2 train.py --checkpoints=/disk"
    train += " --set=steps=40 --set=checkpoint_every=2"
    with engine.running_container(
        picotron.image,
        ["sh", "-c", f"{train}; echo status $?; cd /disk; ls */complete.json"],
        environment={"OMP_NUM_THREADS": "1"},
        tmpfs={"/disk": "size=4m,uid=10001"},
    ) as container:
        container.wait(timeout=AT_MOST_S)
        output = container.logs().decode()
    lines = output.splitlines()
    errors = [json.loads(line) for line in lines if line.startswith('{"event": "error"')]
    assert len(errors) == 1, output
    assert "the checkpoint of step 6 cannot be written: rank" in errors[0]["message"], output
    assert errors[0]["message"].endswith("that of step 4 is whole")
    assert lines[-3:] == [
        "status 1",
        "step-00000002/complete.json",
        "step-00000004/complete.json",
    ]
