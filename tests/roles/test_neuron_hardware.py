"""A machine with too few Neuron devices, or too many, is refused when it boots."""

from pathlib import Path

import pytest
from docker.models.containers import Container
from role_runs import failure, play

from bakehouse.stacks.instances import get_instance

pytestmark = pytest.mark.docker

PROMISED = get_instance("trn1.32xlarge").neuron_devices
RUNTIME = {"ansible.builtin.include_role": {"name": "neuron_driver", "tasks_from": "runtime"}}


def give_devices(container: Container, count: int) -> None:
    """Device nodes as the driver makes them, and no others."""
    commands = "rm -f /dev/neuron*; for i in $(seq 0 $1); do mknod /dev/neuron$i c 1 3; done"
    status, output = container.exec_run(["sh", "-c", commands, "sh", str(count - 1)])
    assert status == 0, output.decode()


@pytest.mark.parametrize("count", [PROMISED - 1, PROMISED, PROMISED + 1])
def test_machine_has_what_its_type_promises(
    bare_container: Container, tmp_path: Path, count: int
) -> None:
    give_devices(bare_container, count)
    hosts = {"target": {"ansible_connection": "docker", "ansible_host": bare_container.name}}
    told = failure(play(tmp_path, hosts, [RUNTIME], neuron_driver_devices=PROMISED), "target")
    if count == PROMISED:
        assert told == ""
    else:
        assert f"{PROMISED} Neuron devices are expected, {count} are there" in told
