"""Mirrors that are kept: made once for what they are made from, and shared by all tests."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from bakehouse import layout
from bakehouse.builder.locks import only_one
from bakehouse.stacks.records import DistributionRecord, DistributionsRecord, PythonRecord
from bakehouse.stacks.stack import Stack, load_stack
from vendor_mirror.mirror import MOUNTED, PACKAGE_MANAGER, PIP, Edition, Variables, make

AVAILABLE = "cpu"
"""The stack whose packages and wheels of Debian 12, which all stand-ins are, can be had."""

PACKAGE_MANAGER_FILES = {
    "apt": "/etc/apt/sources.list.d/stand-in.sources",
    "dnf": "/etc/yum.repos.d/stand-in.repo",
}

_OF_A_DISTRIBUTION = (DistributionRecord, DistributionsRecord, PythonRecord)


def prepared(stack: str, system: str, editions: Sequence[Edition] = ({},)) -> Path:
    """Folder with `mirror/` and `stack.json` for a stack on an operating system.

    Args:
        stack: Its name.
        system: Such as `ubuntu24.04`; the architecture is this machine's.
        editions: Versions, as `mirror.make` takes them.
    """
    variables = stand_in_variables(load_stack(stack))
    platform = f"{system}-{os.uname().machine}"
    inputs = json.dumps([variables, platform, list(editions), _code()], sort_keys=True)
    digest = hashlib.sha256(inputs.encode()).hexdigest()[:16]
    folder = layout.STATE / "vendor_mirror" / f"{stack}-{platform}-{digest}"
    with only_one(f"vendor-mirror-{folder.name}", "a mirror of the same stack"):
        if not folder.is_dir():
            partial = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            make(variables, platform, partial, editions)
            partial.rename(folder)
    return folder


def stand_in_variables(stack: Stack) -> Variables:
    """The stack, with what Debian 12 has in place of what only the stack's own systems have."""
    available = load_stack(AVAILABLE)
    replaced = {
        name: available.variables[name]
        for name, record in stack.records.items()
        if isinstance(record, _OF_A_DISTRIBUTION) and name in available.records
    }
    return {**stack.variables, **replaced}


def volumes(folder: Path, system: str) -> list[str]:
    """What a container mounts to find a mirror, and its package managers what else stands in."""
    described = PACKAGE_MANAGER_FILES["dnf" if system.startswith("amazon") else "apt"]
    mirror = folder / "mirror"
    found = [f"{mirror}:{MOUNTED}:ro", f"{mirror / PACKAGE_MANAGER}:{described}:ro"]
    if (mirror / PIP).is_file():
        found.append(f"{mirror / PIP}:/etc/pip.conf:ro")
    return found


def has_a_source(record: Variables, system: str) -> bool:
    """Whether a record can be had on a system at all, on this machine's architecture."""
    if "by_platform" in record:
        return f"{system}-{os.uname().machine}" in record["by_platform"]
    return True


def _code() -> str:
    here = Path(__file__).parent
    files = sorted([*here.rglob("*.py"), *here.rglob("*.sh")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
