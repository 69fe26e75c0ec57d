"""docs/add-a-test-case.md, followed word by word."""

import json
import sys
from collections.abc import Callable, Iterator

import pytest
from documented_steps import Copy

from bakehouse import engine

CASE = "cpu-text"


@pytest.fixture(scope="module")
def copy(followed: Callable[[str], Copy]) -> Copy:
    return followed("add-a-test-case.md")


@pytest.fixture(scope="module")
def built(copy: Copy, keep_artifacts: bool) -> Iterator[Copy]:
    """The copy, with the test case's image."""
    done = copy.bakehouse("build", CASE)
    assert done.returncode == 0, done.stderr
    yield copy
    if not keep_artifacts:
        for found in engine.connect().images.list(f"bakehouse/{CASE}"):
            engine.connect().images.remove(str(found.id), force=True)


def test_an_addition_touches_only_what_the_page_promises(copy: Copy) -> None:
    outside = {name for name in copy.touched if not name.startswith(f"containers/{CASE}/")}
    assert outside == {"images.yml"}


def test_the_case_keeps_the_repositorys_conventions(copy: Copy) -> None:
    done = copy.run(sys.executable, "-m", "pytest", "-q", "tests/policy", "-k", "our_repository")
    assert done.returncode == 0, done.stdout
    done = copy.run(sys.executable, "-m", "bakehouse.launch.case_readme", "--check")
    assert done.returncode == 0, done.stderr


def test_the_linters_have_nothing_to_say(copy: Copy) -> None:
    for command in (
        ["hadolint", f"containers/{CASE}/Dockerfile"],
        ["yamllint", "--strict", f"containers/{CASE}", "images.yml"],
        ["ruff", "check", f"containers/{CASE}"],
        ["ruff", "format", "--check", f"containers/{CASE}"],
    ):
        done = copy.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.docker
def test_the_case_trains_through_the_loss_of_a_node(built: Copy) -> None:
    options = ["--kill-node", "1", "--kill-after-step", "65", "--json"]
    done = built.bakehouse("run", CASE, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert figures["attempts"] == 2
    assert figures["resumed_at"] >= 60
    assert figures["world_size"] == 2
    assert figures["problems"] == []


@pytest.mark.docker
def test_the_checks_speak_of_the_run(built: Copy) -> None:
    done = built.bakehouse("check", CASE, "--json")
    assert done.returncode == 0, done.stderr
    training = {r["id"]: r["status"] for r in json.loads(done.stdout) if r["group"] == "training"}
    assert training["held-out"] == training["resume"] == training["replay"] == "pass"
