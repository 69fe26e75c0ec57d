"""What the role image_cleanup promises: nothing of the builder ships.

Absence can be seen only before the first boot: a booted machine has made its own keys and logs.
"""

import os

import pytest
from testinfra.host import Host

GONE = [
    "/etc/ssh/ssh_host_*",
    "/etc/munge/munge.key",
    "/var/lib/systemd/random-seed",
    "/var/lib/cloud/instances",
    "/root/.cache",
    "/root/.*_history",
    "/home/*/.*_history",
    "/root/.ssh/authorized_keys",
    "/root/.ansible",
    "/root/.config/pip",
    "/root/.pip",
    "/etc/pip.conf",
    "/var/crash/*",
    "/var/lib/systemd/coredump/*",
    "/var/lib/apt/lists/*_Packages",
    "/var/cache/apt/archives/*.deb",
    "/opt/ansible",
    "/media/*",
    "/mnt/*",
    "/srv/*",
]


@pytest.fixture(autouse=True)
def never_booted() -> None:
    if os.environ.get("BAKEHOUSE_BOOTED") == "1":
        pytest.skip("the machine has booted since it was baked, and made its own keys and logs")


def test_machine_id_is_there_and_empty(host: Host) -> None:
    assert host.file("/etc/machine-id").exists
    assert host.file("/etc/machine-id").content_string == ""


@pytest.mark.parametrize("pattern", GONE)
def test_is_gone(host: Host, pattern: str) -> None:
    asked = host.run(f"ls -d {pattern}")
    assert (asked.stdout, asked.rc) == ("", 2)  # 2: ls found none of them


def test_each_machine_makes_its_own_host_keys(host: Host, image_target: str) -> None:
    if image_target != "machine" or not host.file("/usr/sbin/sshd").exists:
        pytest.skip("no ssh server here")
    unit = host.file("/etc/systemd/system/bakehouse-host-keys.service")
    assert (unit.user, unit.mode) == ("root", 0o644)
    wanted = host.check_output("find /etc/systemd/system -name bakehouse-host-keys.service -type l")
    assert wanted.endswith(".wants/bakehouse-host-keys.service")


def test_logs_are_empty(host: Host) -> None:
    assert host.check_output("find /var/log -name '*.log' -size +0") == ""


def test_nobody_can_log_in_with_the_builders_key(host: Host) -> None:
    assert host.check_output("find /root /home -name authorized_keys -size +0") == ""
