#!/usr/bin/python
# Part of Bakehouse, under the Apache License 2.0.
"""Ansible module: a kernel module, built and installed by DKMS for each of some kernels."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

DOCUMENTATION = r"""
---
module: dkms_module
short_description: Have DKMS build and install a kernel module for each of some kernels
description:
  - Other versions of the module are taken out of DKMS.
  - In check mode nothing is built; sources that are not there yet count as a change.
options:
  name:
    description: Name of the sources, or a shell pattern of it that one name matches.
    required: true
    type: str
  version:
    description: Version of the sources.
    required: true
    type: str
  kernels:
    description: Kernels, as below C(/lib/modules).
    required: true
    type: list
    elements: str
author: [Bakehouse]
"""

RETURN = r"""
built:
  description: Kernels that the module was built for just now.
  returned: success
  type: list
  elements: str
removed:
  description: Other versions that were removed.
  returned: success
  type: list
  elements: str
"""

SOURCES = Path("/usr/src")
STATE = Path("/var/lib/dkms")
LOG_LINES = 25

# "nvidia/595.1, 6.8.0-1, x86_64: installed", or "nvidia, 595.1, …" before DKMS 3; sources for which
# nothing is built have neither kernel nor architecture.
STATUS = re.compile(r"^([^/,]+)(?:/|, )([^,:]+)(?:, ([^,]+), [^:]+)?: (\w+)", re.MULTILINE)


class BuildError(Exception):
    """DKMS failed."""


def dkms(*arguments: str) -> str:
    """Run DKMS and return what it printed."""
    command = ["dkms", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.stdout}")
    return done.stdout


def found_name(pattern: str, version: str) -> str:
    """Return the one name that sources of this version have."""
    names = [
        path.parent.name[: -len(version) - 1]
        for path in sorted(SOURCES.glob(f"{pattern}-{version}/dkms.conf"))
    ]
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise BuildError(f"sources {SOURCES}/{pattern}-{version}: one was expected, found: {found}")
    return names[0]


def states(name: str) -> dict[str, dict[str, str]]:
    """Return the state by kernel, by version; the kernel is empty where nothing is built."""
    result: dict[str, dict[str, str]] = {}
    for found, version, kernel, state in STATUS.findall(dkms("status", "-m", name)):
        if found == name:
            result.setdefault(version, {})[kernel] = state
    return result


def build(name: str, version: str, kernel: str) -> None:
    """Build and install the module for a kernel."""
    if not Path("/lib/modules", kernel, "build", "Makefile").exists():
        raise BuildError(f"the headers of kernel {kernel} are missing")
    try:
        dkms("install", "-m", name, "-v", version, "-k", kernel)
    except BuildError as error:
        log = STATE / name / version / "build" / "make.log"
        tail = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.is_file() else []
        raise BuildError("\n".join([str(error), *tail])) from error


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "kernels": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    pattern, version, kernels = (module.params[key] for key in ("name", "version", "kernels"))
    try:
        name = found_name(pattern, version)
        known = states(name)
        done = known.get(version, {})
        missing = [kernel for kernel in kernels if done.get(kernel) != "installed"]
        others = sorted(set(known) - {version})
        if not module.check_mode:
            for other in others:
                dkms("remove", "-m", name, "-v", other, "--all")
            if version not in known:
                dkms("add", "-m", name, "-v", version)
            for kernel in missing:
                build(name, version, kernel)
    except (BuildError, OSError) as error:
        if module.check_mode:
            module.exit_json(changed=True, built=[], removed=[])
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(missing or others), built=missing, removed=others)


if __name__ == "__main__":
    main()
