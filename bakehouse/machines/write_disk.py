"""Writes the disk of an image, from within a container of that image, with its own tools.

Runs on the image's Python alone, as root with CAP_SYS_ADMIN and without a network; the folder of
the disk is mounted at /media. Needs no loop device: mke2fs fills a file system from a folder, and
GRUB's core lies right behind the first sector, where its boot code looks for it by default
(https://www.gnu.org/software/grub/manual/grub/html_node/BIOS-installation.html).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT, FOLDER = Path("/mnt"), Path("/media")
LABEL = "bakehouse-root"
GRUB = Path("/usr/lib/grub/i386-pc")
SECTOR = 512
FIRST_SECTOR = 2048
BOOT_CODE = 440
"""Bytes of the first sector before the partition table."""

MODULES = (
    "biosdisk", "part_msdos", "ext2", "search", "search_label", "normal", "linux", "gzio", "serial",
    "terminal",
)  # fmt: skip
FIND_ROOT = f"""\
search --no-floppy --label {LABEL} --set=root
set prefix=($root)/boot/grub
"""

# The links follow the newest kernel that is installed, so that this needs no update-grub.
START = f"""\
serial --speed=115200
terminal_input serial console
terminal_output serial console
linux /vmlinuz root=LABEL={LABEL} ro console=tty0 console=ttyS0,115200
initrd /initrd.img
boot
"""
FILES = {
    "etc/fstab": f"LABEL={LABEL} / ext4 errors=remount-ro 0 1\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    "boot/grub/grub.cfg": START,
    # Where cloud-init finds nobody who tells it of a network; its own file comes before this one.
    "etc/systemd/network/90-dhcp.network": "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n",
    # The locale is the roles'; Debian's cloud-init would compile one of its own. A machine that
    # does not find its own name waits for it in every sudo, where nobody answers for names.
    "etc/cloud/cloud.cfg.d/90-bakehouse.cfg": (
        "locale: false\nmanage_etc_hosts: true\n"
        "system_info:\n  network:\n    renderers: [networkd]\n"
    ),
}
OF_DOCKER = ("etc/hostname", "etc/hosts", "etc/resolv.conf")
"""Files that docker mounts over those of the image, which are empty."""


def main() -> None:
    """Write disk.raw: `{"bytes": …, "uuid": …, "owner": [uid, gid]}` is the one argument."""
    told = json.loads(sys.argv[1])
    expose_the_image()
    make_it_a_machine()
    disk = FOLDER / "disk.raw"
    write(disk, told["bytes"], told["uuid"])
    make_it_boot(disk)
    os.chown(disk, *told["owner"])


def expose_the_image() -> None:
    """The image's own files at /mnt, without what docker and the kernel mount into it."""
    for name in OF_DOCKER:
        run("umount", f"/{name}")
    run("mount", "--bind", "/", str(ROOT))
    for name in (".dockerenv", *OF_DOCKER):
        (ROOT / name).unlink(missing_ok=True)


def make_it_a_machine() -> None:
    """What a machine has and a container has not."""
    for name, text in FILES.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (ROOT / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    run("systemctl", "--quiet", f"--root={ROOT}", "enable", "systemd-networkd.service")


def write(disk: Path, size: int, uuid: str) -> None:
    """A disk with one partition, which holds the image's files."""
    with disk.open("wb") as stream:
        stream.truncate(size)
    run("sfdisk", "--quiet", str(disk), stdin=f"start={FIRST_SECTOR}, type=83, bootable\n")
    start = FIRST_SECTOR * SECTOR
    # GRUB 2.06 reads no file system with the two newest features.
    options = f"offset={start},hash_seed={uuid}"
    run(
        "mke2fs", "-q", "-t", "ext4", "-L", LABEL, "-U", uuid, "-E", options,
        "-O", "^metadata_csum_seed,^orphan_file", "-d", str(ROOT), str(disk),
        f"{(size - start) // 1024}k",
    )  # fmt: skip


def make_it_boot(disk: Path) -> None:
    """GRUB's boot sector, and right behind it the core that finds the partition."""
    early, core = Path("/dev/shm/early.cfg"), Path("/dev/shm/core.img")  # noqa: S108 - in memory
    early.write_text(FIND_ROOT, encoding="utf-8")
    run(
        "grub-mkimage", "--format=i386-pc", f"--output={core}", f"--config={early}",
        "--prefix=/boot/grub", *MODULES,
    )  # fmt: skip
    code = core.read_bytes()
    room = (FIRST_SECTOR - 1) * SECTOR
    if len(code) > room:
        sys.exit(f"GRUB's core has {len(code)} bytes, and there is room for {room}")
    with disk.open("r+b") as stream:
        stream.write((GRUB / "boot.img").read_bytes()[:BOOT_CODE])
        stream.seek(SECTOR)
        stream.write(code)


def run(*command: str, stdin: str = "") -> None:
    """Run a program to its end; what it says goes where ours goes."""
    done = subprocess.run(command, input=stdin, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with status {done.returncode}")


if __name__ == "__main__":
    main()
