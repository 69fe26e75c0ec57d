"""What the role aws_lustre promises of a machine: a client for every kernel, and what to mount."""

import os
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

IN_SCENARIO = pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "aws_lustre",
    reason="kernels and file systems are the molecule scenario's",
)

WITHOUT_A_CLIENT = {("debian", "12")}


@pytest.fixture(autouse=True)
def machine(host: Host, image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("a container uses what its machine has mounted")
    system = host.system_info
    if (system.distribution, system.release) in WITHOUT_A_CLIENT:
        assert not host.exists("lfs")
        pytest.skip("there is no client for this system")


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    observed = re.search(r"lfs ([0-9.]+)", host.check_output("lfs --version"))
    assert observed is not None
    record_property("aws_lustre", observed[1])
    assert observed[1] == stack_versions["aws_lustre_release"]


def test_every_kernel_has_its_modules(host: Host, package_is_there: Callable[[str], bool]) -> None:
    if package_is_there("lustre-client"):
        pytest.skip("one package serves all kernels of this distribution")
    found = host.run("ls -d /lib/modules/*/modules.builtin").stdout.split()
    if not found:
        pytest.skip("no kernel is installed")
    kernels = [path.split("/")[3] for path in found]
    assert [k for k in kernels if not package_is_there(f"lustre-client-modules-{k}")] == []


def test_lustre_is_mounted_with_sane_options(host: Host) -> None:
    mounts = [line.split() for line in host.file("/etc/fstab").content_string.splitlines()]
    lustre = [fields for fields in mounts if len(fields) > 3 and fields[2] == "lustre"]
    assert [f for f in lustre if not {"_netdev", "nofail"} <= set(f[3].split(","))] == []
    assert [f[1] for f in lustre if not host.file(f[1]).is_directory] == []


@IN_SCENARIO
def test_mounts_are_those_that_were_asked_for(host: Host) -> None:
    assert host.file("/etc/fstab").mode == 0o644
    lines = host.file("/etc/fstab").content_string.splitlines()
    options = "noatime,flock,_netdev,nofail,x-systemd.automount"
    assert f"fs-0123.fsx.example@tcp:/abcdefgh /fsx lustre {options} 0 0" in lines
    assert "fs-4567.fsx.example@tcp:/ijklmnop /scratch lustre ro,_netdev,nofail 0 0" in lines


@IN_SCENARIO
def test_modules_are_for_the_kernels_that_were_asked_for(
    package_is_there: Callable[[str], bool],
) -> None:
    if package_is_there("lustre-client"):
        pytest.skip("one package serves all kernels of this distribution")
    for kernel in ("6.8.0-1063-aws", "6.17.0-1019-aws"):
        assert package_is_there(f"lustre-client-modules-{kernel}")
