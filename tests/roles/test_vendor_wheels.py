"""Wheels from a vendor's index, or its mirror, and wheels whose digests nobody knows yet."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from role_runs import failure
from stand_ins import StandIn, booted

from bakehouse.stacks.stack import load_stack

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ROLE = "pytorch_neuron"
RECORD = "pytorch_neuron_release"


@pytest.fixture(scope="module")
def machine() -> Iterator[StandIn]:
    """A machine with an empty virtual environment, and the mirror."""
    with booted("neuron", "ubuntu24.04") as stand_in:
        made = "apt-get -qq install --no-install-recommends python3-venv >/dev/null && "
        status, output = stand_in.container.exec_run(
            ["sh", "-c", f"{made}python3 -m venv /opt/venv"]
        )
        assert status == 0, output.decode()
        yield stand_in


def install(machine: StandIn, scratch: Path, **changes: Any) -> str:
    """Run the role; what it says of its failure."""
    variables = machine.variables() | {"bakehouse_wheelhouse": ""} | changes
    return failure(machine.apply(scratch, [ROLE], **variables), "target")


def test_the_real_record_is_refused_before_anything_changes(
    machine: StandIn, tmp_path: Path
) -> None:
    told = install(machine, tmp_path, **{RECORD: load_stack("neuron").variables[RECORD]})
    assert "no digests of torch-neuronx" in told
    assert "stack lock" in told


def test_another_digest_is_refused(machine: StandIn, tmp_path: Path) -> None:
    record = copy.deepcopy(machine.variables()[RECORD])
    record["requirements"][0]["sha256"] = ["0" * 64]
    assert install(machine, tmp_path, **{RECORD: record}) != ""
    assert not installed(machine)


def test_without_its_mirror_the_index_is_not_reached(machine: StandIn, tmp_path: Path) -> None:
    elsewhere = {"https://pip.repos.neuron.amazonaws.com/": "file:///srv/nowhere/"}
    assert install(machine, tmp_path, bakehouse_mirrors=elsewhere) != ""
    assert not installed(machine)


def test_from_the_mirror_of_its_index(machine: StandIn, tmp_path: Path) -> None:
    assert install(machine, tmp_path) == ""
    assert installed(machine)


def installed(machine: StandIn) -> bool:
    """Whether the framework can be imported."""
    status, _ = machine.container.exec_run(["/opt/venv/bin/python", "-c", "import torch_neuronx"])
    return bool(status == 0)
