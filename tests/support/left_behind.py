"""What tests may have left in the engine, apart from what others do with it at the same time."""

import os
from collections.abc import Mapping
from pathlib import Path

from vendor_mirror.platforms import REPOSITORY as STAND_INS

from bakehouse import engine, owner, scratch
from bakehouse.images import load_images


def containers() -> set[str]:
    """Names of all containers but those of other running programs."""
    found = engine.connect().containers.list(all=True)
    return {str(container.name) for container in found if not is_anothers(container.labels)}


def things() -> set[str]:
    """Names of containers, networks, volumes, images and temporary folders.

    Those of other running programs are not among them.

    Images that `make run` makes as well are products, not leftovers.
    """
    client = engine.connect()
    names = {f"container {name}" for name in containers()}
    folders = [path for path, labels in scratch.present() if not is_anothers(labels)]
    names |= {f"folder {path}" for path in folders}
    for kind, listed in (("network", client.networks.list()), ("volume", client.volumes.list())):
        ours = [thing for thing in listed if not is_anothers(thing.attrs.get("Labels") or {})]
        names |= {f"{kind} {thing.name}" for thing in ours}
    images = client.images.list()
    tags = {tag for image in images for tag in (*image.tags, *image.attrs["RepoDigests"])}
    return names | {f"image {tag}" for tag in tags if not is_product(tag)}


def is_product(tag: str) -> bool:
    """Whether an image is one of images.yml, or stands in for a distribution: used again later."""
    return tag.startswith(f"{STAND_INS}/") or tag.rpartition(":")[0] in {
        f"bakehouse/{name}" for name in load_images()
    }


def is_anothers(labels: Mapping[str, str]) -> bool:
    """Whether labels name a running process that is neither this one nor was started by it."""
    pid = owner.owner_pid(labels)
    if pid is None:
        return False
    while pid not in {0, os.getpid()}:
        pid = _parent(pid)
    return pid == 0


def _parent(pid: int) -> int:
    """Of a process; 0 where there is none, or it has just ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(stat.rsplit(")", 1)[1].split()[1])
