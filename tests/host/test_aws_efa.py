"""What the role aws_efa promises: the stack's versions, found by loader and shells."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

INSTALLED = "/opt/amazon/efa_installed_packages"
COMPONENTS = "/etc/bakehouse/components.d"
BUNDLED = ("libfabric", "open_mpi", "rdma_core")


@pytest.fixture
def installer(stack_versions: dict[str, str]) -> str:
    """Version of AWS's installer; skips what the distribution's packages do not promise."""
    if "aws_efa_installer_release" not in stack_versions:
        pytest.skip("the distribution's packages, not AWS's installer")
    return stack_versions["aws_efa_installer_release"]


def record(host: Host, component: str) -> dict[str, Any]:
    """What was recorded of a component."""
    content: dict[str, Any] = json.loads(host.file(f"{COMPONENTS}/{component}.json").content_string)
    return content


def test_installer_is_the_stacks(
    host: Host, installer: str, record_property: Callable[[str, object], None]
) -> None:
    found = re.search(r"EFA installer version: (\S+)", host.file(INSTALLED).content_string)
    assert found is not None
    record_property("aws_efa_installer", found[1])
    assert found[1] == installer
    assert record(host, "aws_efa_installer")["version"] == installer


@pytest.mark.parametrize("component", BUNDLED)
def test_components_have_the_stacks_versions(
    host: Host,
    stack_versions: dict[str, str],
    component: str,
    record_property: Callable[[str, object], None],
) -> None:
    version = record(host, component)["version"]
    record_property(component, version)
    assert re.match(rf"{re.escape(stack_versions[f'{component}_release'])}([.+~-]|$)", version)


def test_libfabric_runs_and_says_its_recorded_version(host: Host) -> None:
    program = "/opt/amazon/efa/bin/fi_info"
    found = host.check_output(f"{program if host.file(program).exists else 'fi_info'} --version")
    told = re.search(r"libfabric: (\S+)", found)
    assert told is not None
    assert record(host, "libfabric")["version"].startswith(told[1].rstrip("."))


def test_without_an_adapter_none_is_pretended(host: Host) -> None:
    if host.run("ls /sys/class/infiniband").stdout.strip():
        pytest.skip("there are adapters")
    program = "/opt/amazon/efa/bin/fi_info"
    asked = host.run(f"{program if host.file(program).exists else 'fi_info'} -p efa")
    assert asked.rc == 61
    assert "-61" in asked.stderr


@pytest.mark.usefixtures("installer")
def test_loader_and_shells_find_it(host: Host) -> None:
    assert "/opt/amazon/efa/lib/libfabric.so" in host.check_output("ldconfig -p")
    path = host.check_output(". /etc/profile.d/zippy_efa.sh; echo $PATH").split(":")
    assert "/opt/amazon/efa/bin" in path


@pytest.mark.usefixtures("installer")
def test_nothing_of_the_distributions_is_in_front(
    package_is_there: Callable[[str], bool],
) -> None:
    names = ("openmpi-bin", "libfabric1", "openmpi", "libfabric")
    assert [name for name in names if package_is_there(name)] == []


@pytest.mark.usefixtures("installer")
def test_kernel_module_is_for_machines(host: Host, image_target: str) -> None:
    listed = host.file(INSTALLED).content_string
    has_module = re.search(r"(^|\s)efa[-_]\d", listed) is not None
    kernels = host.run("ls /lib/modules").stdout.split()
    assert has_module == (image_target == "machine" and bool(kernels))
    assert ("efa-config" in listed) == (image_target == "machine")


def test_buffers_may_be_locked(host: Host, image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("belongs to the machine that runs the container")
    limits = host.file("/etc/security/limits.d/95-aws-efa.conf")
    assert (limits.user, limits.mode) == ("root", 0o644)
    assert {"* - memlock unlimited", "root - memlock unlimited"} <= set(
        limits.content_string.splitlines()
    )
    assert host.file("/etc/systemd/system.conf.d").mode == 0o755
    services = host.file("/etc/systemd/system.conf.d/95-aws-efa.conf").content_string
    assert "DefaultLimitMEMLOCK=infinity" in services.splitlines()


def test_nothing_of_the_installer_is_left(host: Host) -> None:
    assert host.run("ls -d /var/cache/bakehouse/aws-efa-installer*").stdout == ""
