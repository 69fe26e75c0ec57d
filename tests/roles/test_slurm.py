"""Slurm for real: two nodes of one machine, their jobs, and a plugin that the role pyxis compiles.

The machine is a container without control groups of its own to give and without the right to raise
limits, hence the plugins that need neither (proctrack/linuxproc, task/none).
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from role_runs import failure
from stand_ins import STACK, StandIn, booted

from bakehouse.stacks.stack import load_stack

pytestmark = pytest.mark.docker

LIMIT_S = 30
"""A job for nodes that are not as described waits for ever."""

CLUSTER: dict[str, Any] = {
    "slurm_release": load_stack("cpu").variables["slurm_release"],
    "slurm_controller": True,
    "slurm_nodes": [
        {
            "NodeName": "node[1-2]",
            "NodeHostname": "machine",
            "NodeAddr": "127.0.0.1",
            "Port": "[17001-17002]",
            "CPUs": 4,
            "RealMemory": 100,
            "Gres": "gpu:2",
        }
    ],
    "slurm_controllers": ["machine(127.0.0.1)"],
    "slurm_gres": [{"Name": "gpu", "File": "/dev/fake[0-1]"}],
    "slurm_options": {
        "SlurmUser": "root",
        "SlurmdSpoolDir": "/var/lib/slurm/%n",
        "SlurmdPidFile": "/run/slurmd.%n.pid",
        "SlurmdLogFile": "/var/log/slurm/slurmd.%n.log",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SelectTypeParameters": "CR_Core",
        "SlurmdParameters": "config_overrides",
        "SchedulerParameters": "sched_interval=2",
        "ReturnToService": 2,
    },
}

# Devices that are there, but do nothing; daemons that a machine with one node would not have.
START = r"""
set -eu
mknod /dev/fake0 c 1 3; mknod /dev/fake1 c 1 3
hostname machine
echo '127.0.0.1 machine node1 node2' >> /etc/hosts
mkdir -p /var/lib/slurm/node1 /var/lib/slurm/node2 /var/lib/slurm/slurmctld
systemctl start munge
test "$(stat -c '%U %a' /etc/munge/munge.key)" = 'munge 600'
for node in node1 node2; do
  systemd-run --quiet --unit "$node" --property Delegate=yes slurmd -D -N "$node"
done
systemd-run --quiet --unit controller slurmctld -D
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """Debian 12 with the role's own Slurm, as the distribution has it."""
    scratch = tmp_path_factory.mktemp("slurm")
    with booted(STACK, "debian12") as stand_in:
        variables = stand_in.variables() | CLUSTER
        report = stand_in.apply(scratch, ["slurm"], **variables)
        assert failure(report, "target") == ""
        run(stand_in, START)
        wait_for(stand_in, "sinfo --noheader --Node --format=%T | sort -u", "idle")
        yield stand_in


def run(machine: StandIn, script: str) -> str:
    """Output of a shell script that succeeds within the limit."""
    command = ["timeout", "--kill-after=1", str(LIMIT_S), "bash", "-c", script]
    status, output = machine.container.exec_run(command)
    assert status == 0, f"{output.decode()}\n{logs(machine)}"
    return str(output.decode().strip())


def logs(machine: StandIn) -> str:
    """What the daemons say."""
    units = ["--unit=controller", "--unit=node1", "--unit=node2", "--unit=munge"]
    command = ["journalctl", "--no-pager", "--lines=60", *units]
    return str(machine.container.exec_run(command).output.decode())


def wait_for(machine: StandIn, command: str, expected: str) -> None:
    """Wait until a command prints what is expected."""
    shown = ""
    for _ in range(LIMIT_S):
        shown = run(machine, command)
        if shown == expected:
            return
        time.sleep(1)
    pytest.fail(f"{command}: {shown!r} is not {expected!r}\n{logs(machine)}")


def test_a_job_runs_on_both_nodes(machine: StandIn) -> None:
    shown = run(machine, "srun --quiet --nodes=2 --ntasks=2 printenv SLURMD_NODENAME")
    assert sorted(shown.splitlines()) == ["node1", "node2"]


def test_a_batch_of_two_nodes_meets(machine: StandIn) -> None:
    rank = "srun bash -c 'echo $SLURM_PROCID of $SLURM_NTASKS >> /tmp/met'"
    script = f'cd /tmp && sbatch --quiet --wait --nodes=2 --ntasks=4 --wrap="{rank}"'
    run(machine, script.replace("$", "\\$"))
    met = run(machine, "sort /tmp/met").splitlines()
    assert met == [f"{rank} of 4" for rank in range(4)]


def test_a_job_gets_the_devices_that_it_asks_for(machine: StandIn) -> None:
    shown = run(machine, "srun --quiet --nodes=1 --gres=gpu:2 printenv CUDA_VISIBLE_DEVICES")
    assert shown == "0,1"


def test_a_drained_node_gets_no_job_until_it_is_resumed(machine: StandIn) -> None:
    run(machine, "scontrol update nodename=node1 state=drain reason='it is slow'")
    assert "it is slow" in run(machine, "sinfo --list-reasons")
    assert run(machine, "srun --quiet --nodes=1 printenv SLURMD_NODENAME") == "node2"
    refused = "srun --immediate=2 --nodes=2 true 2>&1 || echo refused"
    assert run(machine, refused).endswith("refused")
    run(machine, "scontrol update nodename=node1 state=resume")
    assert len(run(machine, "srun --quiet --nodes=2 printenv SLURMD_NODENAME").splitlines()) == 2


def test_pyxis_is_compiled_and_loaded(machine: StandIn, tmp_path: Path) -> None:
    variables = machine.variables() | CLUSTER
    run(machine, "echo '# a line of the site' >> /etc/slurm/plugstack.conf")
    assert failure(machine.apply(tmp_path, ["pyxis"], **variables), "target") == ""
    assert "# a line of the site" in run(machine, "cat /etc/slurm/plugstack.conf")
    assert "--container-image=IMAGE" in run(machine, "srun --help")
    job = "srun --quiet --nodes=2 --container-image=debian printenv STAND_IN_IMAGE"
    assert run(machine, job).splitlines() == ["debian", "debian"]


@pytest.mark.slow
def test_pyxis_is_compiled_anew_for_another_slurm(machine: StandIn, tmp_path: Path) -> None:
    variables = machine.variables() | CLUSTER
    assert failure(machine.apply(tmp_path, ["pyxis"], **variables), "target") == ""
    header = "/opt/other/include/slurm/slurm_version.h"
    run(machine, "mkdir -p /opt/other/etc && cp -r /usr/include /opt/other/")
    run(machine, f"sed -i 's/SLURM_VERSION_NUMBER.*/SLURM_VERSION_NUMBER 0x190500/' {header}")
    variables |= {"pyxis_slurm_prefixes": ["/opt/other", "/usr"]}
    assert failure(machine.apply(tmp_path, ["pyxis"], **variables), "target") == ""
    assert "0x190500" in run(machine, "cat /usr/local/share/pyxis/built")
    assert "spank_pyxis.so" in run(machine, "cat /opt/other/etc/plugstack.conf.d/pyxis.conf")
    variables |= {"pyxis_slurm_prefixes": ["/usr"]}
    assert failure(machine.apply(tmp_path, ["pyxis"], **variables), "target") == ""
    assert "0x160508" in run(machine, "cat /usr/local/share/pyxis/built")


def test_pyxis_names_the_headers_that_it_does_not_find(machine: StandIn, tmp_path: Path) -> None:
    variables = machine.variables() | {"pyxis_slurm_prefixes": ["/opt/none"]}
    message = failure(machine.apply(tmp_path, ["pyxis"], **variables), "target")
    assert "no include/slurm/spank.h in /opt/none" in message


# The last one: from here on the machine seems to have a Slurm of somebody else's.
def test_another_slurm_is_left_alone(machine: StandIn, tmp_path: Path) -> None:
    run(machine, "mkdir /opt/slurm")
    before = run(machine, "sha256sum /etc/slurm/*.conf")
    variables = machine.variables() | CLUSTER | {"slurm_cluster": "another"}
    report = machine.apply(tmp_path, ["slurm"], **variables)
    assert failure(report, "target") == ""
    assert report["stats"]["target"]["changed"] == 0
    assert run(machine, "sha256sum /etc/slurm/*.conf") == before
