"""What the role neuron_driver promises: a module for every kernel, and devices for a group."""

import os
from collections.abc import Callable

import pytest
from testinfra.host import Host

RULE = "/etc/udev/rules.d/zz-neuron.rules"


@pytest.fixture(scope="module", autouse=True)
def machines_only(image_target: str) -> None:
    """Leave containers out: they use the driver of their host."""
    if image_target != "machine":
        pytest.skip("a container uses the driver of its host")


@pytest.fixture(scope="module")
def kernels(host: Host) -> list[str]:
    """The installed kernels."""
    found = host.run("ls -d /lib/modules/*/modules.builtin").stdout.split()
    if not found and os.environ.get("MOLECULE_SCENARIO_NAME") != "neuron_driver":
        pytest.skip("no kernel is installed")
    assert found
    return [path.split("/")[3] for path in found]


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    wanted = stack_versions["neuron_driver_release"]
    observed = host.check_output("dkms status -m aws-neuronx").replace(", ", "/").split("/")[1]
    record_property("neuron_driver", observed.partition(":")[0])
    assert observed.partition(":")[0] == wanted


def test_every_kernel_has_the_module(
    host: Host, stack_versions: dict[str, str], kernels: list[str]
) -> None:
    versions = {k: host.run(f"modinfo -k {k} -F version neuron").stdout.strip() for k in kernels}
    assert versions == dict.fromkeys(kernels, stack_versions["neuron_driver_release"])


def test_module_is_loaded_on_boot(host: Host) -> None:
    listed = host.file("/etc/modules-load.d/neuron.conf")
    assert listed.mode == 0o644
    assert listed.content_string == "neuron\n"


def test_rule_gives_the_devices_to_a_group_that_exists(host: Host) -> None:
    assert host.file(RULE).mode == 0o644
    rule = host.file(RULE).content_string
    assert 'SUBSYSTEM=="neuron_device"' in rule
    assert host.group(rule.partition('GROUP="')[2].partition('"')[0]).exists


def test_rule_is_the_last_word(host: Host) -> None:
    listed = host.run("ls /lib/udev/rules.d /etc/udev/rules.d").stdout.split()
    names = sorted(name for name in listed if "neuron" in name)
    assert names[-1] == RULE.rpartition("/")[2]


def test_version_is_kept(host: Host, stack_versions: dict[str, str]) -> None:
    lines = host.run(
        "cat /etc/apt/preferences.d/neuron_driver /etc/dnf/plugins/versionlock.list"
    ).stdout
    assert "aws-neuronx-dkms" in lines
    assert f"{stack_versions['neuron_driver_release']}*" in lines


def test_every_device_can_be_used(host: Host) -> None:
    devices = host.run("ls -d /sys/class/neuron_device/neuron[0-9]*").stdout.split()
    if not devices:
        pytest.skip("this machine has no Neuron device")
    names = [path.rpartition("/")[2] for path in devices]
    assert [name for name in names if not host.file(f"/dev/{name}").exists] == []
