"""Wrong variables are refused before anything starts."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bakehouse import layout
from bakehouse.images import load_images
from bakehouse.machines import template

pytestmark = [
    pytest.mark.lengthy,
    pytest.mark.skipif(shutil.which("packer") is None, reason="packer is not installed"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template for this machine's Packer."""
    return template.readable(tmp_path_factory.mktemp("packer") / "template", template.installed())


def validate(folder: Path, *variables: str) -> subprocess.CompletedProcess[str]:
    given = [part for text in (f"root={layout.ROOT}", *variables) for part in ("-var", text)]
    command = ["packer", "validate", *given, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_defaults_are_valid(folder: Path) -> None:
    finished = validate(folder)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    "variable",
    [
        "image=Not_A_Name",
        "image=",
        "namespace=Upper",
        "playbook=../cpu",
        "stack=cpu.yml",
        "base_image=",
        "container=two words",
        "variables_file=/no/such/file",
        "wheelhouse=/no/such/folder",
        "cgroup_mount=/sys/fs/cgroup",
        "region=Oregon",
        "architecture=amd64",
        "distribution=ubuntu",
        "source_ami=ubuntu-24.04",
    ],
)
def test_a_wrong_value_is_refused_by_the_variables_name(folder: Path, variable: str) -> None:
    finished = validate(folder, variable)
    assert finished.returncode != 0
    assert f"The variable {variable.partition('=')[0]} must" in " ".join(
        (finished.stdout + finished.stderr).split()
    )


def test_an_unknown_variable_is_refused(folder: Path) -> None:
    assert validate(folder, "imgae=cpu").returncode != 0


@pytest.mark.parametrize("image", [name for name, i in load_images().items() if i.ami])
def test_every_ami_is_valid(folder: Path, image: str) -> None:
    finished = validate(folder, f"image={image}")
    assert finished.returncode == 0, finished.stdout + finished.stderr
