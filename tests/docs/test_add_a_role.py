"""docs/add-a-role.md, followed word by word."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from documented_steps import Copy

from bakehouse import engine
from bakehouse.builder import build_image


@pytest.fixture(scope="module")
def copy(followed: Callable[[str], Copy]) -> Copy:
    return followed("add-a-role.md")


def test_an_addition_touches_only_what_the_page_promises(copy: Copy) -> None:
    outside = {name for name in copy.touched if not name.startswith("roles/hwloc/")}
    assert outside == {
        "stacks/cpu.yml",
        "molecule/hwloc/molecule.yml",
        "tests/host/test_hwloc.py",
        "playbooks/cpu.yml",
    }


def test_the_role_keeps_the_repositorys_conventions(copy: Copy) -> None:
    done = copy.run(
        sys.executable, "-m", "pytest", "-q", "tests/policy", "-k", "our_roles or our_repository"
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.lengthy
def test_the_linters_have_nothing_to_say(copy: Copy) -> None:
    for command in (
        ["ansible-lint", "--offline", "-q", "roles/hwloc", "playbooks/cpu.yml"],
        ["yamllint", "--strict", "roles/hwloc", "molecule/hwloc", "stacks/cpu.yml"],
        ["ruff", "check", "tests/host/test_hwloc.py"],
        ["ruff", "format", "--check", "tests/host/test_hwloc.py"],
    ):
        done = copy.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.docker
def test_only_the_new_layer_and_those_above_it_would_run(copy: Copy) -> None:
    build_image("cpu")
    done = copy.bakehouse("build", "cpu", "--plan", "--json")
    assert done.returncode == 0, done.stderr
    layers = json.loads(done.stdout)[-1]["layers"]
    names = [layer["name"] for layer in layers]
    at = names.index("hwloc")
    assert [layer["cached"] for layer in layers] == [True] * at + [False] * (len(names) - at)


@pytest.fixture
def run_id(keep_artifacts: bool) -> Iterator[str]:
    """Suffix of the scenario's container, which goes in the end."""
    suffix = f"-{uuid4().hex[:8]}"
    yield suffix
    if not keep_artifacts:
        engine.remove_container(f"bakehouse-molecule-hwloc{suffix}")


@pytest.mark.docker
def test_the_role_passes_in_its_scenario(copy: Copy, run_id: str, tmp_path: Path) -> None:
    build_image("debian-12-machine")
    copy.environment.update(
        {"BAKEHOUSE_MOLECULE_RUN": run_id, "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path)}
    )
    done = copy.run("molecule", "test", "-s", "hwloc")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout + done.stderr
