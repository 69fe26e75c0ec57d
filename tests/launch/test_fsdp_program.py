"""The fsdp test case, tested inside its image; each test of in_container/check_fsdp*.py reports."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from unittest_inside import demand_ok, names_of, output_of

from bakehouse import engine
from bakehouse.launch.case import load_case

EVERY_DAY = ("check_fsdp", "check_fsdp_data", "check_fsdp_runs", "check_fsdp_failures")
LONG = "check_fsdp_long"
AT_MOST_S = 300

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def fsdp_image() -> str:
    """The image under test; built where it is missing."""
    reference = os.environ.get("BAKEHOUSE_TEST_FSDP_IMAGE", "bakehouse/fsdp:latest")
    if engine.image(reference) is None:
        subprocess.run([sys.executable, "-m", "bakehouse", "build", "case/fsdp"], check=True)
    return reference


@pytest.fixture(scope="module")
def outputs(fsdp_image: str) -> dict[str, str]:
    """What unittest said about a file; each is run when the first of its tests asks."""

    class Outputs(dict[str, str]):
        def __missing__(self, module: str) -> str:
            self[module] = output_of(fsdp_image, module, "/opt/fsdp", timeout_s=AT_MOST_S)
            return self[module]

    return Outputs()


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in EVERY_DAY for name in names_of(module)]
)
def test_inside_the_image(module: str, name: str, outputs: dict[str, str]) -> None:
    demand_ok(module, name, outputs[module])


@pytest.mark.slow
@pytest.mark.parametrize("name", names_of(LONG))
def test_at_length_inside_the_image(name: str, outputs: dict[str, str]) -> None:
    demand_ok(LONG, name, outputs[LONG])


def test_a_full_disk_leaves_the_checkpoint_before(fsdp_image: str) -> None:
    """Two ranks of torchrun; there is room for two checkpoints of 1.6 MB, and not for three."""
    options = {"steps": 40, "checkpoint_every": 10, "validation_every": 100}
    command = ["torchrun", "--standalone", "--nproc-per-node=2", "train.py"]
    command += [
        "--checkpoints=/disk",
        *(f"--set={name}={value}" for name, value in options.items()),
    ]
    with engine.running_container(
        fsdp_image,
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
def test_a_killed_node_and_a_resume(fsdp_image: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bakehouse", "run", "fsdp", "--image", fsdp_image]
    command += ["--output", str(tmp_path / "run"), "--kill-node", "1", "--kill-after-step", "65"]
    subprocess.run(command, check=True, timeout=AT_MOST_S)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    first, second = record["attempts"]
    assert first["killed"]["node"] == 1
    resumed = next(r for r in second["records"] if r["event"] == "resume")
    assert resumed["step"] == 60
    before, after = (
        {r["step"]: r["loss"] for r in attempt["records"] if r["event"] == "step"}
        for attempt in (first, second)
    )
    again = before.keys() & after.keys()
    assert again
    assert {s: before[s] for s in again} == {s: after[s] for s in again}
    final = second["records"][-1]
    case = load_case("fsdp")
    assert final["loss"] <= record["expected"]["loss"] == case.checks.loss
    assert final["held_out"] == case.dataset.held_out


def _records(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith('{"event"')]
