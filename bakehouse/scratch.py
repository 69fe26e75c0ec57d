"""Temporary folders that go away even where the process that made them was killed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bakehouse import owner

_HEAD = "bakehouse-"
_MARK = ".owner"


@contextmanager
def folder(purpose: str) -> Iterator[Path]:
    """A new folder that only this user can read, removed at the end.

    Args:
        purpose: Is part of the folder's name.
    """
    sweep()
    with tempfile.TemporaryDirectory(prefix=f"{_HEAD}{purpose}-") as name:
        made = Path(name)
        (made / _MARK).write_text(owner.owner_label()[owner.OWNER], encoding="ascii")
        yield made


def sweep() -> list[Path]:
    """Remove this user's folders whose process is gone; returns which."""
    gone = [path for path, labels in present() if owner.is_orphan(labels)]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return gone


def present() -> list[tuple[Path, dict[str, str]]]:
    """This user's folders, and the label of each that names its process."""
    found = []
    for mark in sorted(Path(tempfile.gettempdir()).glob(f"{_HEAD}*/{_MARK}")):
        try:
            ours = mark.parent.stat(follow_symlinks=False).st_uid == os.getuid()
            label = mark.read_text(encoding="ascii")
        except OSError:  # its process removes it at this moment, or it is another user's
            continue
        if ours:
            found.append((mark.parent, {owner.OWNER: label}))
    return found
