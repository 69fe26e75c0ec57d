"""Unpack the few Ansible collections that we use from the `ansible` wheel.

Usage: unpack_collections.py FOLDER_WITH_WHEEL TARGET
"""

import shutil
import sys
import zipfile
from pathlib import Path

PREFIX = "ansible_collections/"
COLLECTIONS = ("community/docker", "community/library_inventory_filtering_v1", "ansible/posix")


def unpack(wheel: Path, target: Path) -> int:
    """Replace `target` by the collections in the wheel; returns the number of files."""
    wanted = tuple(f"{PREFIX}{name}/" for name in COLLECTIONS)
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.startswith(wanted) and "/tests/" not in n]
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        archive.extractall(target, names)
    return len(names)


if __name__ == "__main__":
    (found,) = Path(sys.argv[1]).glob("ansible-*.whl")
    unpack(found, Path(sys.argv[2]))
