"""Debian's own driver, for real: DKMS compiles its modules for the kernel of Debian's cloud images.

Takes about four minutes, and needs no GPU: nothing is loaded.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from role_runs import changed, failure
from stand_ins import StandIn

from bakehouse.stacks.stack import load_stack
from bakehouse.systemd import booted_container

pytestmark = [pytest.mark.docker, pytest.mark.slow]

STACK = "debian-driver"
MODULE = "nvidia-current"
"""What Debian calls it."""

PREPARED = """
set -eu
export DEBIAN_FRONTEND=noninteractive
components='main contrib non-free non-free-firmware'
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    [ ! -e "$list" ] || sed -i -e "s/^\\(deb .*\\) main$/\\1 $components/" \
        -e "s/^\\(Components:\\) main$/\\1 $components/" "$list"
done
apt-get --quiet=2 update
apt-get --quiet=2 install --no-install-recommends \
    "linux-image-cloud-$(dpkg --print-architecture)" >/dev/null
"""
"""A machine with the cloud kernel, and the components in which Debian has the driver."""


@pytest.fixture(scope="module")
def machine(
    machine_image: str, keep_artifacts: bool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StandIn]:
    """Made as molecule makes its machines, but Debian's own DKMS and kernel come from Debian."""
    with booted_container(machine_image, keep=keep_artifacts) as container:
        made = StandIn(container=container, folder=tmp_path_factory.mktemp("debian-driver"))
        made.said("sh", "-c", PREPARED)
        yield made


@pytest.fixture(scope="module")
def variables() -> dict[str, Any]:
    """The stack's; Debian's open modules cannot be installed."""
    return load_stack(STACK).variables | {"nvidia_driver_kernel_modules": "proprietary"}


@pytest.fixture(scope="module")
def driver(machine: StandIn, variables: dict[str, Any]) -> StandIn:
    """The machine with the driver."""
    report = machine.apply(machine.folder, ["nvidia_driver"], **variables)
    assert failure(report, "target") == ""
    return machine


def kernel(machine: StandIn) -> str:
    """The only kernel that is installed; it is not the one that runs."""
    lists = machine.said("sh", "-c", "ls -d /lib/modules/*/modules.builtin").split()
    assert len(lists) == 1
    return lists[0].split("/")[3]


def test_the_module_is_compiled_for_the_cloud_kernel(
    driver: StandIn, variables: dict[str, Any]
) -> None:
    version = variables["nvidia_driver_release"]["version"]
    target = kernel(driver)
    assert "-cloud-" in target
    assert driver.said("modinfo", "-k", target, "--field", "version", MODULE) == version
    made_for = driver.said("modinfo", "-k", target, "--field", "vermagic", MODULE)
    assert made_for.split()[0] == target
    status = driver.said("dkms", "status", "-m", MODULE)
    assert status.startswith(f"{MODULE}/{version}, {target}, ")
    assert status.endswith(": installed")


def test_the_role_keeps_its_other_promises(driver: StandIn, variables: dict[str, Any]) -> None:
    assert driver.broken_promises(["nvidia_driver"], variables) == ""


def test_a_second_run_changes_nothing(driver: StandIn, variables: dict[str, Any]) -> None:
    again = driver.apply(driver.folder, ["nvidia_driver"], **variables)
    assert failure(again, "target") == ""
    assert changed(again, "target") == []
