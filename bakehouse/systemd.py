"""Containers that boot systemd, as machines would."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bakehouse import engine
from bakehouse.engine import StartedContainer
from bakehouse.errors import HostError


@contextmanager
def booted_container(
    reference: str, *, mounts: tuple[str, ...] = (), keep: bool = False
) -> Iterator[StartedContainer]:
    """A container whose systemd has booted; never privileged, and removed at the end.

    Args:
        reference: Image.
        mounts: What it sees beside its control groups, each as `source:target:mode`.
        keep: Leave the container behind, for a person to look at.

    Raises:
        HostError: The image does not exist, or systemd does not boot in it.
    """
    with engine.running_container(
        reference,
        ["/lib/systemd/systemd"],
        keep=keep,
        cap_add=["SYS_ADMIN"],
        volumes=[engine.cgroup_mount(), *mounts],
        tmpfs={"/run": "", "/run/lock": ""},
    ) as container:
        wait_for_systemd(container)
        yield container


def wait_for_systemd(container: StartedContainer) -> str:
    """Wait until a container's systemd has booted; returns its state.

    Raises:
        HostError: It has not within half a minute.
    """
    state = ""
    for _ in range(60):
        # Before systemd listens, there is nobody who could wait.
        shown: Any = container.exec_run(["systemctl", "is-system-running", "--wait"]).output
        state = str(shown.decode(errors="replace")).strip()
        if state in {"running", "degraded"}:
            return state
        time.sleep(0.5)
    raise HostError(
        f"systemd does not boot: {state}",
        where=str(container.name),
        remedy="look at the container: docker exec NAME journalctl",
    )
