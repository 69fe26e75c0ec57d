#!/usr/bin/python
# Part of Bakehouse, under the Apache License 2.0.
"""Ansible module: remove content that must not ship in an image, and prove that it is gone."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCUMENTATION = r"""
---
module: absent_content
short_description: Remove content that must not ship in an image
description:
  - Removes or empties what each entry names, then looks again and fails if anything is left.
  - Spares what is not part of the image (folders and files that are bound to this place from
    elsewhere, file systems in memory) and the files of the Ansible task that runs this.
options:
  entries:
    description: What to remove.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: An absolute path, or a glob.
        type: str
        required: true
      state:
        description:
          - V(absent) removes what matches.
          - V(transient) does so too, and does not count as a change, for what each run of Ansible
            makes anew.
          - V(emptied) removes what is in the folders that match.
          - V(truncated) empties the files that match and all files below the folders that match.
          - V(blank) empties a file, and makes it where it is missing.
        choices: [absent, transient, emptied, truncated, blank]
        type: str
        required: true
      reason:
        description: Why it must not ship.
        type: str
        required: true
attributes:
  check_mode:
    support: full
author: [Bakehouse]
"""

EXAMPLES = r"""
- name: Remove host keys
  absent_content:
    entries:
      - {path: /etc/ssh/ssh_host_*, state: absent, reason: Two clones must not share them.}
"""

RETURN = r"""
removed:
  description: Paths that were removed or emptied.
  type: list
  elements: str
  returned: success
"""

# A service that is running may write between the removal and the proof.
ROUNDS = 3


def bound_mounts(mountinfo: str) -> set[Path]:
    """Return where something is mounted that is not a partition of this machine's disk."""
    found = set()
    for line in mountinfo.splitlines():
        _, _, _, root, point, *rest = line.split()
        source = rest[rest.index("-") + 2]
        if root != "/" or not source.startswith("/dev/"):
            # The kernel writes blanks and the like as octal numbers.
            found.add(Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point)))
    return found


def own_files() -> set[Path]:
    """Return where Ansible has put the code that is running; it removes that itself."""
    return {Path(path) for path in (*sys.path, sys.argv[0]) if path.startswith("/")}


def matching(pattern: str) -> list[Path]:
    """Return the paths that a glob names, links without a target included."""
    if re.search(r"[*?[]", pattern):
        return sorted(Path("/").glob(pattern[1:]))
    return [Path(pattern)] if os.path.lexists(pattern) else []


def removable(path: Path, spared: Iterable[Path]) -> list[Path]:
    """Return the path, or what of it can be removed where something below it is spared."""
    if path in spared:
        return []
    if not any(path in kept.parents for kept in spared):
        return [path]
    return [found for child in sorted(path.iterdir()) for found in removable(child, spared)]


def filled(path: Path, spared: Iterable[Path]) -> list[Path]:
    """Return the files at or below a path that have content."""
    if path in spared or path.is_symlink():
        return []
    if path.is_dir():
        return [found for child in sorted(path.iterdir()) for found in filled(child, spared)]
    return [path] if path.is_file() and path.stat().st_size else []


def leftovers(entry: dict[str, str], spared: Iterable[Path]) -> list[Path]:
    """Return the paths that an entry names and that still are what they must not be."""
    paths = matching(entry["path"])
    if entry["state"] in {"absent", "transient"}:
        return [found for path in paths for found in removable(path, spared)]
    if entry["state"] == "emptied":
        folders = [path for path in paths if path.is_dir() and not path.is_symlink()]
        children = [child for path in folders if path not in spared for child in path.iterdir()]
        return [found for child in sorted(children) for found in removable(child, spared)]
    if entry["state"] == "blank" and not paths:
        return [Path(entry["path"])]
    return [found for path in paths for found in filled(path, spared)]


def clean(path: Path, state: str) -> None:
    """Bring one path that `leftovers` returned into the state of its entry."""
    if state in {"truncated", "blank"}:
        path.write_bytes(b"")
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def clean_all(entries: list[dict[str, str]], spared: Iterable[Path], *, pretend: bool) -> list[str]:
    """Clean what the entries name once, and return what counts as changed."""
    changed = []
    for entry in entries:
        for path in leftovers(entry, spared):
            if not pretend:
                clean(path, entry["state"])
            if entry["state"] != "transient":
                changed.append(str(path))
    return changed


def what_is_left(entries: list[dict[str, str]], spared: Iterable[Path]) -> list[str]:
    """Return a line for each path that is still there, with the reason why it must not be."""
    return [
        f"{path} ({entry['state']}: {entry['reason']})"
        for entry in entries
        for path in leftovers(entry, spared)
    ]


def main() -> None:
    """Run as an Ansible module."""
    states = ["absent", "transient", "emptied", "truncated", "blank"]
    options = {
        "path": {"type": "str", "required": True},
        "state": {"type": "str", "required": True, "choices": states},
        "reason": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "entries": {"type": "list", "elements": "dict", "required": True, "options": options}
        },
        supports_check_mode=True,
    )
    entries = module.params["entries"]
    for entry in entries:
        if not re.match(r"/[^/]", entry["path"]):
            module.fail_json(msg=f"a path must be absolute and below /: {entry['path']!r}")
    spared = bound_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8")) | own_files()
    removed = []
    left = []
    try:
        for _ in range(1 if module.check_mode else ROUNDS):
            removed += clean_all(entries, spared, pretend=module.check_mode)
            left = [] if module.check_mode else what_is_left(entries, spared)
            if not left:
                break
    except OSError as error:
        module.fail_json(msg=f"cannot clean {error.filename}: {error.strerror}", removed=removed)
    if left:
        module.fail_json(msg="still there: " + ", ".join(left), removed=removed)
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
