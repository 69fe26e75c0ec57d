"""The bionemo test case inside its image; each test of in_container/check_bionemo*.py reports.

All of them are slow: a day's work does not build the image.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from unittest_inside import demand_ok, names_of, output_of

from bakehouse import engine
from bakehouse.launch.case import load_case

FILES = ("check_bionemo", "check_bionemo_runs")
AT_MOST_S = 600

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def bionemo_image() -> str:
    """The image under test; built where it is missing."""
    reference = os.environ.get("BAKEHOUSE_TEST_BIONEMO_IMAGE", "bakehouse/bionemo:latest")
    if engine.image(reference) is None:
        subprocess.run([sys.executable, "-m", "bakehouse", "build", "case/bionemo"], check=True)
    return reference


@pytest.fixture(scope="module")
def outputs(bionemo_image: str) -> dict[str, str]:
    """What unittest said about each file."""
    return {
        module: output_of(bionemo_image, module, "/opt/bionemo", timeout_s=AT_MOST_S)
        for module in FILES
    }


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in FILES for name in names_of(module)]
)
def test_inside_the_image(module: str, name: str, outputs: dict[str, str]) -> None:
    demand_ok(module, name, outputs[module])


def test_a_killed_node_and_a_resume(bionemo_image: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bakehouse", "run", "bionemo", "--image", bionemo_image]
    command += ["--output", str(tmp_path / "run"), "--kill-node", "1", "--kill-after-step", "55"]
    subprocess.run(command, check=True, timeout=AT_MOST_S)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    first, second = record["attempts"]
    assert first["killed"]["node"] == 1
    resumed = next(r for r in second["records"] if r["event"] == "resume")
    assert resumed["step"] == 50
    before, after = (
        {r["step"]: r["loss"] for r in attempt["records"] if r["event"] == "step"}
        for attempt in (first, second)
    )
    again = before.keys() & after.keys()
    assert again
    assert {s: before[s] for s in again} == {s: after[s] for s in again}
    final, case = second["records"][-1], load_case("bionemo")
    assert final["loss"] <= record["expected"]["loss"] == case.checks.loss
    assert final["held_out"] == case.dataset.held_out
