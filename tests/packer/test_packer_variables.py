"""Wrong variables are refused before anything starts."""

import shutil
import subprocess

import pytest

from bakehouse import layout

pytestmark = pytest.mark.skipif(shutil.which("packer") is None, reason="packer is not installed")


def validate(*variables: str) -> subprocess.CompletedProcess[str]:
    given = [part for variable in variables for part in ("-var", variable)]
    command = ["packer", "validate", *given, str(layout.PACKER)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_defaults_are_valid() -> None:
    finished = validate()
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
    ],
)
def test_a_wrong_value_is_refused_by_the_variables_name(variable: str) -> None:
    finished = validate(variable)
    assert finished.returncode != 0
    assert f"The variable {variable.partition('=')[0]} must" in " ".join(
        (finished.stdout + finished.stderr).split()
    )


def test_an_unknown_variable_is_refused() -> None:
    assert validate("imgae=cpu").returncode != 0
