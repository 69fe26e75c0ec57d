"""Is the machine fit: processors, memory, disk, limits, kernel settings, clock."""

from __future__ import annotations

import os
import re
import resource
import shutil

from bakehouse.checks.host import Host
from bakehouse.checks.registry import check
from bakehouse.checks.result import Outcome, judged, skipped

GIB = 1 << 30
LEAST_MEMORY_GIB = 2
LEAST_DISK_GIB = 2
LEAST_SHM_MIB = 64
LEAST_FILES = 1024
SYSCTL_FILE = "/etc/sysctl.d/90-bakehouse.conf"
_PROCESSORS = re.compile(r"\d[\d,-]*\s*$")
OWN_NEED = "what a two-process training job of ours needs"


@check("cpus", "node", "Processors are there")
def cpus(host: Host) -> Outcome:
    """At least one processor that is online, and as many as the kernel says are present."""
    present = host.read("/sys/devices/system/cpu/present") or ""
    online = host.read("/sys/devices/system/cpu/online") or ""
    if not _PROCESSORS.match(present) or not _PROCESSORS.match(online):
        return skipped("the kernel does not list its processors")
    return judged(
        present.strip() == online.strip(),
        online.strip(),
        present.strip(),
        "processors that are present",
        reason="some processors are offline",
        remedy="put them online, or replace the machine",
    )


@check("memory", "node", "Memory is enough")
def memory(host: Host) -> Outcome:
    """Memory in GiB."""
    gib = round(_meminfo(host, "MemTotal") / GIB, 1)
    return judged(
        gib >= LEAST_MEMORY_GIB, gib, f"at least {LEAST_MEMORY_GIB} GiB", OWN_NEED,
        remedy="use a larger machine",
    )  # fmt: skip


@check("swap", "node", "Training does not swap")
def swap(host: Host) -> Outcome:
    """Swap in use makes a node slow without an error."""
    used = _meminfo(host, "SwapTotal") - _meminfo(host, "SwapFree")
    if used > 0:
        return Outcome(
            "warn", f"{used / GIB:.1f} GiB in use", "none in use", "practice of training clusters",
            "memory is short: steps will be slow", "swapoff --all, or use less memory",
        )  # fmt: skip
    return Outcome("pass", "none in use", "none in use", "practice of training clusters")


@check("disk", "node", "Disk space is left")
def disk(host: Host) -> Outcome:
    """Free space of the root file system in GiB."""
    gib = round(shutil.disk_usage(host.path("/")).free / GIB, 1)
    return judged(
        gib >= LEAST_DISK_GIB, gib, f"at least {LEAST_DISK_GIB} GiB free", OWN_NEED,
        remedy="remove old checkpoints and images",
    )  # fmt: skip


@check("shm", "node", "Shared memory is enough")
def shared_memory(host: Host) -> Outcome:
    """Size of /dev/shm in MiB; data loaders pass batches through it."""
    if not os.path.isdir(host.path("/dev/shm")):
        return skipped("there is no /dev/shm")
    mib = shutil.disk_usage(host.path("/dev/shm")).total >> 20
    return judged(
        mib >= LEAST_SHM_MIB, mib, f"at least {LEAST_SHM_MIB} MiB", "docker's own default",
        remedy="start the container with a larger --shm-size",
    )  # fmt: skip


@check("open-files", "node", "Enough files may be open")
def open_files(host: Host) -> Outcome:
    """Hard limit of open files."""
    del host
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard in (resource.RLIM_INFINITY,) or hard >= LEAST_FILES
    return judged(
        enough, hard, f"at least {LEAST_FILES}", OWN_NEED, remedy="raise nofile in limits.d"
    )


@check("locked-memory", "node", "Memory may be locked")
def locked_memory(host: Host) -> Outcome:
    """RDMA registers the memory it sends from; without RDMA a bound is only worth a warning."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return Outcome("pass", "unlimited", "unlimited", "role base")
    rdma = bool(host.matches("/sys/class/infiniband/*"))
    return Outcome(
        "fail" if rdma else "warn", f"{soft >> 10} KiB", "unlimited", "role base",
        "registration of memory for RDMA will fail" if rdma else "RDMA would need it; none is here",
        "log in again after the role base, or start the container with --ulimit memlock=-1",
    )  # fmt: skip


@check("clock", "node", "The clock is kept right")
def clock(host: Host) -> Outcome:
    """The kernel says that the clock is synchronised."""
    if host.is_container():
        return skipped("the clock belongs to the machine that runs the container")
    status, output, _ = host.run("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if status != 0:
        return skipped("timedatectl does not answer")
    return judged(
        output.strip() == "yes", output.strip(), "yes", "role base",
        reason="logs of several nodes cannot be compared", remedy="systemctl status chrony",
    )  # fmt: skip


@check("sysctl", "node", "Kernel setting is as promised")
def kernel_settings(host: Host) -> list[Outcome] | Outcome:
    """The settings that the role base wrote, in the running kernel."""
    if host.is_container():
        return skipped("kernel settings belong to the machine that runs the container")
    text = host.read(SYSCTL_FILE)
    if text is None:
        return skipped(f"there is no {SYSCTL_FILE}")
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith(("#", ";"))]
    return [_setting(host, line) for line in lines]


def _setting(host: Host, line: str) -> Outcome:
    name, _, value = (part.strip() for part in line.partition("="))
    present = host.read("/proc/sys/" + name.replace(".", "/"))
    measured = None if present is None else " ".join(present.split())
    outcome = judged(
        measured == " ".join(value.split()), measured, value, SYSCTL_FILE, remedy="sysctl --system"
    )
    return Outcome(**{**outcome.__dict__, "suffix": name})


def _meminfo(host: Host, key: str) -> int:
    """A value of /proc/meminfo in bytes."""
    text = host.read("/proc/meminfo") or ""
    for line in text.splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) << 10
    raise ValueError(f"/proc/meminfo has no {key}")
