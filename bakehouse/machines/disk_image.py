"""A disk from a docker image that has a kernel: raw and qcow2, bootable."""

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from bakehouse import engine
from bakehouse.errors import BuildError, HostError
from bakehouse.process import run

_WRITER = Path(__file__).with_name("write_disk.py")
_TOOLS = ("qemu-img",)
INSTALL_TOOLS = "run `bootstrap/setup.sh disk`, which installs it"


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk as files.

    Attributes:
        raw: Sparse: its holes take no room.
        qcow2: Compressed; clones stand on it.
    """

    raw: Path
    qcow2: Path


def make(image_id: str, folder: Path, *, gb: int, name: str) -> Disk:
    """Write an image's disk to a folder.

    Args:
        image_id: Docker image.
        folder: Where the files go; must exist.
        gb: Size of the disk in GiB.
        name: Of the files, without suffix.

    Raises:
        HostError: qemu-img is missing, or the disk of this machine is full.
        BuildError: The image has no kernel or boot loader, or is larger than the disk.
    """
    for tool in _TOOLS:
        if shutil.which(tool) is None:
            raise HostError(f"{tool} is not installed", remedy=INSTALL_TOOLS)
    _write(image_id, folder, gb)
    disk = Disk(raw=folder / f"{name}.raw", qcow2=folder / f"{name}.qcow2")
    (folder / "disk.raw").rename(disk.raw)
    _compress(disk)
    return disk


def gathered(source: Path, folder: Path, name: str) -> Disk:
    """Both forms of a disk that stands on another one, which they do without.

    Args:
        source: qcow2; it is removed.
        folder: Where the files go.
        name: Of the files, without suffix.

    Raises:
        HostError: qemu-img is missing, or the disk of this machine is full.
    """
    disk = Disk(raw=folder / f"{name}.raw", qcow2=folder / f"{name}.qcow2")
    _convert("-O", "raw", str(source), str(disk.raw))
    shutil.rmtree(source.parent)
    _compress(disk)
    return disk


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _compress(disk: Disk) -> None:
    options = ("-c", "-o", "compression_type=zstd")
    _convert("-O", "qcow2", *options, str(disk.raw), str(disk.qcow2))


def _convert(*words: str) -> None:
    command = ["qemu-img", "convert", *words]
    run(command, failure=HostError, remedy="is the disk full?", quiet=True)


def _write(image_id: str, folder: Path, gb: int) -> None:
    told = {
        "bytes": gb << 30,
        # One image gives one identity, whoever makes its disk.
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, image_id)),
        "owner": [os.getuid(), os.getgid()],
    }
    with engine.running_container(
        image_id,
        ["/usr/bin/python3", "-I", "-c", _WRITER.read_text(encoding="utf-8"), json.dumps(told)],
        entrypoint=[],
        user="0",
        cap_add=["SYS_ADMIN"],
        security_opt=["apparmor=unconfined"],
        network_mode="none",
        volumes={str(folder): {"bind": "/media", "mode": "rw"}},
    ) as container:
        status = int(container.wait()["StatusCode"])
        said = container.logs().decode(errors="replace").strip()
    if status != 0:
        raise BuildError(
            f"the disk cannot be written: {said[-600:] or f'status {status}'}",
            where=image_id[:19],
            remedy="it needs room (disk.gb in images.yml), and in the image a kernel, grub-pc-bin, "
            "e2fsprogs and fdisk, as in debian-12-node",
        )
