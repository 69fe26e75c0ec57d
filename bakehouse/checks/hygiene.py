"""Does nothing of the builder ship: seen on an image that has never booted."""

from __future__ import annotations

from bakehouse.checks.host import Host
from bakehouse.checks.registry import check
from bakehouse.checks.result import Outcome, judged, skipped

FORBIDDEN = {
    "host-keys": ("/etc/ssh/ssh_host_*",),
    "package-caches": ("/var/cache/apt/archives/*.deb", "/var/lib/apt/lists/*_Packages"),
    "pip-leftovers": ("/root/.cache/pip", "/etc/pip.conf", "/root/.config/pip", "/root/.pip"),
    "ansible-leftovers": ("/root/.ansible", "/opt/ansible", "/tmp/ansible*", "/media/*", "/mnt/*"),
    "histories": ("/root/.*_history", "/home/*/.*_history"),
    "authorized-keys": ("/root/.ssh/authorized_keys", "/home/*/.ssh/authorized_keys"),
    "core-dumps": ("/var/crash/*", "/var/lib/systemd/coredump/*"),
    "random-seed": ("/var/lib/systemd/random-seed",),
    "cloud-init-state": ("/var/lib/cloud/instance*",),
}


@check("absent", "hygiene", "Nothing of the builder ships")
def forbidden_content(host: Host) -> list[Outcome] | Outcome:
    """What the role image_cleanup removes is not there."""
    if host.has_booted():
        return skipped("this machine has booted since it was baked")
    return [_absent(host, name, patterns) for name, patterns in FORBIDDEN.items()]


@check("machine-id", "hygiene", "The machine will get an id of its own")
def machine_id(host: Host) -> Outcome:
    """/etc/machine-id is empty."""
    if host.has_booted():
        return skipped("this machine has booted since it was baked")
    text = host.read("/etc/machine-id")
    return judged(
        text == "",
        "missing" if text is None else f"{len(text)} characters",
        "empty",
        "machine-id(5)",
        reason="clones would share one id" if text else "systemd would not write a new one",
        remedy="bake the image with the role image_cleanup",
    )


def _absent(host: Host, name: str, patterns: tuple[str, ...]) -> Outcome:
    found = [path for pattern in patterns for path in host.matches(pattern)]
    closed = sorted({folder for pattern in patterns for folder in host.closed(pattern)})
    if closed and not found:
        return Outcome("skip", reason=f"may not look into {', '.join(closed)}", suffix=name)
    outcome = judged(
        not found,
        ", ".join(found[:5]) or "nothing",
        "nothing",
        "role image_cleanup",
        reason=f"{len(found)} left",
        remedy="bake the image with the role image_cleanup as its last",
    )
    return Outcome(**{**outcome.__dict__, "suffix": name})
