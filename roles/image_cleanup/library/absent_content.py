#!/usr/bin/python
"""Ansible module: content that must not ship in an image."""

from __future__ import annotations

DOCUMENTATION = r"""
module: absent_content
short_description: Removes content that must not ship in an image
description:
  - Removes or empties what each entry names, then looks again and fails if anything is left.
  - Mounted file systems are left alone; what is mounted there is not part of the image.
options:
  entries:
    description:
      - What to remove. Each entry has `path` (a glob), `reason`, and `state`.
      - C(absent) removes what matches. C(empty) truncates files and empties folders that match.
        C(blank) is C(empty), and makes the file if it is not there.
    type: list
    elements: dict
    required: true
author: [Bakehouse]
"""

EXAMPLES = r"""
- name: Remove host keys
  absent_content:
    entries:
      - {path: /etc/ssh/ssh_host_*, state: absent, reason: two clones must not share them}
"""

RETURN = r"""
removed:
  description: Paths that were removed or emptied.
  type: list
  returned: success
"""

import glob
import os
import shutil

from ansible.module_utils.basic import AnsibleModule


def is_mounted(path: str) -> bool:
    """Whether something is mounted at a path: a file system, or a file bound over it."""
    return os.path.ismount(path) or path in mount_points()


def mount_points() -> set[str]:
    """Where something is mounted, as the kernel says."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8") as stream:
            return {line.split()[4] for line in stream}
    except OSError:
        return set()


def leftovers(entry: dict[str, str]) -> list[str]:
    """Paths that an entry names and that still have content."""
    found = []
    for path in sorted(glob.glob(entry["path"], recursive=True)):
        if is_mounted(path):
            continue
        if entry["state"] == "absent":
            found.append(path)
        elif os.path.isdir(path) and not os.path.islink(path):
            found += [p for p in folder_content(path) if not is_mounted(p)]
        elif os.path.isfile(path) and os.path.getsize(path) > 0:
            found.append(path)
    if entry["state"] == "blank" and not os.path.lexists(entry["path"]):
        found.append(entry["path"])
    return found


def folder_content(path: str) -> list[str]:
    """Entries of a folder, by full path."""
    return [os.path.join(path, name) for name in sorted(os.listdir(path))]


def clean(entry: dict[str, str], path: str) -> None:
    """Remove or empty one path that `leftovers` named."""
    inside_folder = entry["state"] == "empty" and path not in glob.glob(entry["path"], recursive=True)
    if entry["state"] == "absent" or inside_folder:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    else:
        with open(path, "w", encoding="utf-8"):
            pass


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"entries": {"type": "list", "elements": "dict", "required": True}},
        supports_check_mode=True,
    )
    entries = module.params["entries"]
    wrong = [e for e in entries if e.get("state") not in ("absent", "empty", "blank")]
    if wrong:
        module.fail_json(msg="state must be absent, empty or blank: {0}".format(wrong[0]))
    removed = []
    for entry in entries:
        for path in leftovers(entry):
            removed.append(path)
            # An entry above may have removed it together with its folder.
            if not module.check_mode and (os.path.lexists(path) or entry["state"] == "blank"):
                clean(entry, path)
    if not module.check_mode:
        left = [path for entry in entries for path in leftovers(entry)]
        if left:
            module.fail_json(msg="still there: " + ", ".join(left))
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
