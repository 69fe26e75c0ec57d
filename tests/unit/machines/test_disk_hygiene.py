"""What is found on a disk before its first boot; the file systems are real."""

import subprocess
from pathlib import Path

import pytest

from bakehouse.machines import disk_hygiene
from bakehouse.machines.write_disk import FIRST_SECTOR, SECTOR


def disk_with(folder: Path, files: dict[str, str]) -> Path:
    """A disk whose partition has these files."""
    root, disk = folder / "root", folder / "disk.raw"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    with disk.open("wb") as stream:
        stream.truncate(20 << 20)
    start = FIRST_SECTOR * SECTOR
    command = ["mke2fs", "-q", "-t", "ext4", "-E", f"offset={start}", "-d", root, disk, "18000k"]
    subprocess.run([str(word) for word in command], check=True, env={"PATH": "/usr/sbin:/usr/bin"})
    return disk


def failed(disk: Path) -> set[str]:
    found = disk_hygiene.results(disk)
    assert {result.status for result in found} <= {"pass", "fail"}
    return {result.id for result in found if result.status == "fail"}


def test_a_clean_disk_passes(tmp_path: Path) -> None:
    assert failed(disk_with(tmp_path, {"etc/machine-id": "", "etc/ssh/sshd_config": "x"})) == set()


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("etc/machine-id", "6752\n", "machine-id"),
        ("etc/ssh/ssh_host_rsa_key", "x", "absent-host-keys"),
        ("var/lib/systemd/random-seed", "x", "absent-random-seed"),
        ("home/debian/.ssh/authorized_keys", "x", "absent-authorized-keys"),
        ("var/lib/cloud/instances/one/user-data", "x", "absent-cloud-init-state"),
        ("root/.bash_history", "x", "absent-histories"),
    ],
)
def test_what_the_builder_left_is_found(tmp_path: Path, name: str, text: str, found: str) -> None:
    assert failed(disk_with(tmp_path, {"etc/machine-id": "", name: text})) == {found}


def test_a_disk_without_a_file_system_is_not_clean(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(bytes(1 << 20))
    assert {"absent", "machine-id"} <= failed(tmp_path / "disk.raw")
