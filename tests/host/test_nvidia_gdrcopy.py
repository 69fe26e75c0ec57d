"""What the role nvidia_gdrcopy promises: library, tests, a module for every kernel, its device."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

RECORD = "/etc/bakehouse/components.d/nvidia_gdrcopy.json"
TESTS = ("gdrcopy_sanity", "gdrcopy_copybw", "gdrcopy_copylat")
DEVICE = "/dev/gdrdrv"
ASK = (
    "python3 -c 'import ctypes; n = ctypes.c_int(), ctypes.c_int(); "
    'ctypes.CDLL("libgdrapi.so.2").gdr_runtime_get_version(*map(ctypes.byref, n)); '
    "print(n[0].value, n[1].value)'"
)


@pytest.fixture
def version(stack_versions: dict[str, str]) -> str:
    """The stack's, as far as library and module tell theirs: two numbers."""
    return ".".join(stack_versions["nvidia_gdrcopy_release"].split(".")[:2])


@pytest.fixture
def kernels(host: Host, image_target: str) -> list[str]:
    """Every kernel that is installed, whichever runs."""
    if image_target != "machine":
        pytest.skip("a container uses the module of its host")
    found = host.check_output("ls -d /lib/modules/*/modules.builtin").split()
    assert found != []
    return [path.split("/")[3] for path in found]


@pytest.fixture
def programs(host: Host) -> list[str]:
    """The tests of the vendor, where they were asked for."""
    record: dict[str, Any] = json.loads(host.file(RECORD).content_string)
    built = [path for path in record["paths"] if path.startswith("/opt/gdrcopy/bin/")]
    if not built:
        pytest.skip("nvidia_gdrcopy_tests is off")
    return built


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    record = json.loads(host.file(RECORD).content_string)
    record_property("nvidia_gdrcopy", record["version"])
    assert record["version"] == stack_versions["nvidia_gdrcopy_release"]


def test_library_is_found_by_its_name(host: Host, version: str) -> None:
    assert host.check_output(ASK).split() == version.split(".")


def test_library_is_the_only_one(host: Host, version: str) -> None:
    found = host.check_output("ls /opt/gdrcopy/lib").split()
    assert sorted(found) == sorted(["libgdrapi.so", "libgdrapi.so.2", f"libgdrapi.so.{version}"])
    listed = host.check_output("/sbin/ldconfig -p").splitlines()
    places = [line.rpartition(" => ")[2] for line in listed if "libgdrapi.so.2" in line]
    assert places == ["/opt/gdrcopy/lib/libgdrapi.so.2"]


def test_headers_are_there(host: Host) -> None:
    assert host.file("/opt/gdrcopy/include/gdrapi.h").is_file


@pytest.mark.parametrize("program", TESTS)
def test_tests_are_found_and_use_the_library(host: Host, programs: list[str], program: str) -> None:
    assert f"/opt/gdrcopy/bin/{program}" in programs
    needed = host.check_output(f"ldd $(command -v {program})").splitlines()
    places = [line.split()[2] for line in needed if "libgdrapi.so.2" in line]
    assert places == ["/opt/gdrcopy/lib/libgdrapi.so.2"]


def test_every_kernel_has_the_module(host: Host, kernels: list[str], version: str) -> None:
    found = {k: host.run(f"modinfo -k {k} --field version gdrdrv").stdout.strip() for k in kernels}
    assert found == dict.fromkeys(kernels, version)


def test_dkms_builds_it_for_later_kernels(
    host: Host, kernels: list[str], stack_versions: dict[str, str]
) -> None:
    assert kernels
    (sources,) = host.check_output("ls -d /usr/src/gdrdrv-*").split()
    assert sources == f"/usr/src/gdrdrv-{stack_versions['nvidia_gdrcopy_release']}"
    settings = host.file(f"{sources}/dkms.conf").content_string.splitlines()
    assert 'AUTOINSTALL="yes"' in settings
    assert 'BUILT_MODULE_NAME[0]="gdrdrv"' in settings


def test_the_module_knows_the_driver_that_is_there(
    host: Host, kernels: list[str], stack_versions: dict[str, str]
) -> None:
    assert kernels
    state = f"/var/lib/dkms/gdrdrv/{stack_versions['nvidia_gdrcopy_release']}"
    drivers = host.check_output("cd /usr/src && ls -d nvidia-*").split()
    assert host.file(f"{state}/.for-{','.join(sorted(drivers))}").exists


def test_the_service_starts_on_boot(host: Host, kernels: list[str]) -> None:
    assert kernels
    assert host.service("gdrcopy").is_enabled
    unit = host.file("/etc/systemd/system/gdrcopy.service")
    assert unit.mode == 0o644
    assert "modprobe gdrdrv" in unit.content_string
    assert f"mknod -m 0666 {DEVICE} c " in unit.content_string


def test_everybody_may_use_the_device(host: Host, kernels: list[str]) -> None:
    assert kernels
    if "gdrdrv" not in host.file("/proc/devices").content_string:
        pytest.skip("the module is not loaded: there is no GPU, or another machine's kernel runs")
    device = host.file(DEVICE)
    assert device.exists
    assert device.mode == 0o666


def test_the_vendors_test_passes(host: Host, programs: list[str]) -> None:
    assert programs
    if not host.file(DEVICE).exists:
        pytest.skip("there is no device of GDRCopy here")
    done = host.run("gdrcopy_sanity")
    assert done.rc == 0, done.stdout
