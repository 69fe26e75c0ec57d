"""The repository as it was at a commit, and what was planned there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bakehouse import layout, scratch
from bakehouse.builder.catalogue import Entry, Role
from bakehouse.errors import InputError


def entries_at(commit: str) -> list[Entry]:
    """All images as they were planned at a commit, by the code of today.

    Args:
        commit: Whatever git takes for one: `HEAD~1`, a tag.

    Raises:
        InputError: There is no such commit, or its files cannot be read by the code of today.
    """
    with scratch.folder("past") as folder:
        _unpack(commit, folder)
        done = subprocess.run(
            [sys.executable, "-m", "bakehouse", "plan", "--all", "--json"],
            env={
                **os.environ,
                "BAKEHOUSE_ROOT": str(folder),
                "BAKEHOUSE_STATE": str(folder / "state"),
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise InputError(
                f"the files of {commit} cannot be planned: {done.stderr.strip()}",
                where=f"--since {commit}",
                remedy="give a later commit",
            )
    return [_entry(each) for each in json.loads(done.stdout)["images"]]


def _unpack(commit: str, folder: Path) -> None:
    archive = folder / "tree.tar"
    command = ["git", "-C", str(layout.ROOT), "archive", "--output", str(archive), commit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InputError(
            f"git does not know {commit}: {done.stderr.strip()}",
            where="--since",
            remedy="give a commit, a branch or a tag of this repository",
        )
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)


def _entry(found: dict[str, Any]) -> Entry:
    names = ("image", "kind", "stack", "start")
    return Entry(**{name: found[name] for name in names}, roles=[Role(**r) for r in found["roles"]])
