"""What the role neuron_sdk promises: AWS's libraries and tools, found by all programs."""

import json
from collections.abc import Callable

import pytest
from testinfra.host import Host

PARTS = ("neuron_runtime", "neuron_collectives", "neuron_tools")
LIBRARIES = ("libnrt.so.1", "libnccom.so.2")
TOOLS = ("neuron-ls", "neuron-monitor", "neuron-top")


@pytest.mark.parametrize("part", PARTS)
def test_version_is_the_stacks(
    host: Host,
    part: str,
    stack_versions: dict[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    record = json.loads(host.file(f"/etc/bakehouse/components.d/{part}.json").content_string)
    record_property(part, record["version"])
    asked = f"rpm -q --qf '%{{VERSION}}' {record['package']}"
    otherwise = f"dpkg-query -W -f '${{Version}}' {record['package']}"
    installed = host.check_output(f"{asked} 2>/dev/null || {otherwise}")
    assert installed.startswith(stack_versions[f"{part}_release"])
    assert record["version"].startswith(stack_versions[f"{part}_release"])


@pytest.mark.parametrize("library", LIBRARIES)
def test_loader_finds(host: Host, library: str) -> None:
    known = host.run("PATH=$PATH:/sbin:/usr/sbin ldconfig -p").stdout
    assert f"/opt/aws/neuron/lib/{library}" in known


@pytest.mark.parametrize("path", ["/etc/ld.so.conf.d/neuron.conf", "/etc/profile.d/neuron.sh"])
def test_everybody_may_read_where_they_are(host: Host, path: str) -> None:
    assert host.file(path).mode == 0o644


@pytest.mark.parametrize("tool", TOOLS)
def test_tool_is_on_every_path(host: Host, tool: str) -> None:
    found = host.check_output(f"env -i PATH=/usr/local/bin:/usr/bin:/bin sh -c 'command -v {tool}'")
    assert host.check_output(f"readlink -f {found}") == f"/opt/aws/neuron/bin/{tool}"


def test_login_shells_have_the_others_on_their_path(host: Host) -> None:
    path = host.check_output("env -i PATH=/usr/bin:/bin sh -lc 'echo $PATH'")
    assert path.split(":").count("/opt/aws/neuron/bin") == 1


@pytest.mark.parametrize("part", PARTS)
def test_version_is_kept(host: Host, part: str, stack_versions: dict[str, str]) -> None:
    lines = host.run(f"cat /etc/apt/preferences.d/{part} /etc/dnf/plugins/versionlock.list").stdout
    assert f"{stack_versions[f'{part}_release']}*" in lines


def test_tools_see_every_device(host: Host) -> None:
    devices = [
        name for name in host.file("/dev").listdir() if name.removeprefix("neuron").isdigit()
    ]
    if not devices:
        pytest.skip("this machine has no Neuron device")
    listed = json.loads(host.check_output("neuron-ls --json-output"))
    assert sorted(f"neuron{device['neuron_device']}" for device in listed) == sorted(devices)
