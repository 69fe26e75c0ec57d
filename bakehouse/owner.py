"""Which process a container belongs to: found out even after that process was killed."""

import os
from collections.abc import Mapping
from pathlib import Path

OWNER = "org.bakehouse.owner"


def owner_label() -> dict[str, str]:
    """Label that ties a container, network or volume to this process."""
    return {OWNER: f"{_boot_id()}:{os.getpid()}:{_started(os.getpid())}"}


def is_orphan(labels: Mapping[str, str]) -> bool:
    """The process that the labels name is gone; false if they name none."""
    return labels.get(OWNER, "").count(":") == 2 and owner_pid(labels) is None


def owner_pid(labels: Mapping[str, str]) -> int | None:
    """The process that the labels name; None if they name none, or it is gone."""
    match labels.get(OWNER, "").split(":"):
        case [boot, pid, started] if pid.isdigit() and boot == _boot_id():
            return int(pid) if _started(int(pid)) == started else None
        case _:
            return None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _started(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot: tells a reused process id apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[19]
    except OSError:
        return None
