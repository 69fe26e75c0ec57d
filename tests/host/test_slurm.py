"""What the role slurm promises: the stack's Slurm, with a place for plugins and without a key."""

import json
import os
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

KEY = "/etc/munge/munge.key"
IN_ITS_SCENARIO = os.environ.get("MOLECULE_SCENARIO_NAME") == "slurm"


@pytest.fixture(autouse=True)
def ours(host: Host, image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("a container runs under the Slurm of its host")
    if host.file("/opt/slurm").exists:
        pytest.skip("the image has a Slurm that this role leaves alone")


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    observed = host.check_output("slurmd -V").split()[-1]
    record_property("slurm", observed)
    assert re.match(rf"{re.escape(stack_versions['slurm_release'])}([.+~-]|$)", observed)


@pytest.mark.parametrize("program", ["srun", "sbatch", "sinfo", "scontrol", "slurmd", "munged"])
def test_program_is_there(host: Host, program: str) -> None:
    assert host.exists(program)


def test_record_says_what_is_there(host: Host) -> None:
    record = json.loads(host.file("/etc/bakehouse/components.d/slurm.json").content_string)
    assert record["version"] in host.check_output("slurmd -V")
    assert [path for path in record["paths"] if not host.file(path).is_file] == []


@pytest.mark.parametrize("service", ["bakehouse-munge-key", "munge", "slurmd"])
def test_daemon_starts_on_boot(host: Host, service: str) -> None:
    assert host.service(service).is_enabled


def test_plugins_are_read_from_a_folder(host: Host) -> None:
    lines = host.file("/etc/slurm/plugstack.conf").content_string.splitlines()
    assert lines.count("include /etc/slurm/plugstack.conf.d/*.conf") == 1
    folders = ("/etc/slurm", "/etc/slurm/plugstack.conf.d")
    assert [host.file(path).mode for path in folders] == [0o755] * 2


def test_key_is_not_baked_and_is_for_munge_alone(host: Host) -> None:
    key = host.file(KEY)
    if IN_ITS_SCENARIO or os.environ.get("BAKEHOUSE_BOOTED") != "1":
        assert not key.exists
    assert not key.exists or (key.user, key.mode) == ("munge", 0o600)


@pytest.mark.skipif(not IN_ITS_SCENARIO, reason="the nodes are those of the molecule scenario")
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("slurm", "SlurmctldHost=head"),
        ("slurm", "GresTypes=gpu"),
        ("slurm", "ProctrackType=proctrack/cgroup"),
        ("slurm", "NodeName=node[1-2] CPUs=4 RealMemory=2000 Gres=gpu:8 State=UNKNOWN"),
        ("slurm", "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP"),
        ("gres", "Name=gpu File=/dev/nvidia[0-7]"),
        ("cgroup", "ConstrainDevices=yes"),
    ],
)
def test_configuration_is_the_data(host: Host, name: str, line: str) -> None:
    lines = host.file(f"/etc/slurm/{name}.conf").content_string.splitlines()
    assert lines.count(line) == 1


@pytest.mark.skipif(not IN_ITS_SCENARIO, reason="a live node runs them")
@pytest.mark.parametrize("service", ["munge", "slurmd", "slurmctld"])
def test_baking_does_not_start_the_daemons(host: Host, service: str) -> None:
    assert host.run(f"systemctl is-active {service}").stdout.strip() == "inactive"
