"""The script of `bakehouse run --dry-run`, by hand: the same training without Bakehouse."""

import json
import subprocess
from pathlib import Path

import pytest
from started_runs import LONG_ENOUGH_S, Finished

from bakehouse.launch.docker_script import render
from bakehouse.launch.job import prepare

pytestmark = [pytest.mark.docker, pytest.mark.slow]


def started(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-s"],
        input=script,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LONG_ENOUGH_S,
        check=False,
    )


def networks() -> str:
    command = ["docker", "network", "ls", "--filter=name=cpu-ddp-digits", "--quiet"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_script_trains_as_the_launcher_does_and_leaves_only_checkpoints(
    case_image: str, unbroken_run: Finished, tmp_path: Path
) -> None:
    before = networks()
    done = started(render(prepare("cpu-ddp", "docker", image=case_image)), tmp_path)
    assert done.returncode == 0, done.stderr
    final = json.loads(done.stdout.splitlines()[-1])
    same = unbroken_run.record["attempts"][-1]["records"][-1]
    assert final["parameters_sha256"] == same["parameters_sha256"]
    kept = tmp_path / "checkpoints" / "cpu-ddp-digits-cnn"
    assert len(list(kept.iterdir())) == 3
    assert networks() == before


def test_the_script_ends_with_the_status_of_a_node_that_fails(
    case_image: str, tmp_path: Path
) -> None:
    script = render(prepare("cpu-ddp", "docker", image=case_image, nodes=1))
    done = started(script.replace("digits-cnn.json", "none.json"), tmp_path)
    assert done.returncode == 1
    assert "node0 ended with status 1" in done.stderr
