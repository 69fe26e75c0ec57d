"""The image of the test case, and runs of it that several tests look at."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from started_runs import Finished, Runner

from bakehouse import engine


@pytest.fixture(scope="session")
def case_image() -> str:
    """The image under test; built where it is missing."""
    reference = os.environ.get("BAKEHOUSE_TEST_CASE_IMAGE", "bakehouse/cpu-ddp:latest")
    if engine.image(reference) is None:
        subprocess.run([sys.executable, "-m", "bakehouse", "build", "cpu-ddp"], check=True)
    return reference


@pytest.fixture(scope="session")
def runner(case_image: str) -> Runner:
    return Runner(case_image)


@pytest.fixture(scope="session")
def broken_run(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run in which node 1 is killed in mid-training."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    return runner(folder, "--kill-node", "1", "--kill-after-step", "60")


@pytest.fixture(scope="session")
def unbroken_run(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run that nobody disturbs."""
    return runner(tmp_path_factory.mktemp("unbroken") / "run", "--json")


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Wait for something to become true."""

    def wait(true: Callable[[], bool]) -> None:
        until = time.monotonic() + 120
        while not true():
            assert time.monotonic() < until, "it did not become true within 120 s"
            time.sleep(0.1)

    return wait
