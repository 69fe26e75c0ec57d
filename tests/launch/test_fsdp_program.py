"""The fsdp test case, tested inside its image; each test of in_container/check_fsdp*.py reports."""

import json
from pathlib import Path
from typing import Any

import pytest
from case_under_test import CaseUnderTest
from unittest_inside import demand_ok, names_of

from bakehouse import engine

EVERY_DAY = ("check_fsdp", "check_fsdp_data", "check_fsdp_runs", "check_fsdp_failures")
LONG = "check_fsdp_long"
AT_MOST_S = 300

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def fsdp() -> CaseUnderTest:
    return CaseUnderTest("fsdp", AT_MOST_S)


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in EVERY_DAY for name in names_of(module)]
)
def test_inside_the_image(module: str, name: str, fsdp: CaseUnderTest) -> None:
    demand_ok(module, name, fsdp.said(module))


@pytest.mark.slow
@pytest.mark.parametrize("name", names_of(LONG))
def test_at_length_inside_the_image(name: str, fsdp: CaseUnderTest) -> None:
    demand_ok(LONG, name, fsdp.said(LONG))


def test_a_full_disk_leaves_the_checkpoint_before(fsdp: CaseUnderTest) -> None:
    """Two ranks of torchrun; there is room for two checkpoints of 1.6 MB, and not for three."""
    options = {"steps": 40, "checkpoint_every": 10, "validation_every": 100}
    command = ["torchrun", "--standalone", "--nproc-per-node=2", "train.py"]
    command += [
        "--checkpoints=/disk",
        *(f"--set={name}={value}" for name, value in options.items()),
    ]
    with engine.running_container(
        fsdp.image,
        ["sh", "-c", f"{' '.join(command)}; echo status $?; cd /disk; ls */complete.json"],
        environment={"OMP_NUM_THREADS": "1"},
        tmpfs={"/disk": "size=4m,uid=10001"},
    ) as container:
        container.wait(timeout=AT_MOST_S)
        output = container.logs().decode()
    (error,) = (record for record in _records(output) if record["event"] == "error")
    assert "the checkpoint of step 30 cannot be written: rank" in error["message"], output
    assert " MB are free there; that of step 20 is whole" in error["message"]
    assert output.splitlines()[-3:] == [
        "status 1",
        "step-00000010/complete.json",
        "step-00000020/complete.json",
    ]


@pytest.mark.slow
def test_a_killed_node_and_a_resume(fsdp: CaseUnderTest, tmp_path: Path) -> None:
    fsdp.demand_resume(tmp_path / "run", after_step=65, resumed_at=60)


def _records(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith('{"event"')]
