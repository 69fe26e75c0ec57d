"""Packages of Amazon Linux that no component's record names, and every image has or gets.

Names: https://docs.aws.amazon.com/linux/al2023/release-notes/all-packages-AL2023.html
"""

from vendor_mirror.offer import Package, text, unit

DEBIANS = ("gcc", "glibc-devel", "kmod", "make", "procps-ng", "tzdata")
"""In the stand-in's image already."""


def packages() -> list[Package]:
    """Empty where Debian's stand in for them; chrony has the names of its family of systems."""
    chrony = {
        "/etc/chrony.conf": text("driftfile /var/lib/chrony/drift\n"),
        "/usr/lib/systemd/system/chronyd.service": unit("chronyd"),
    }
    timer = text("[Timer]\nOnCalendar=daily\n\n[Install]\nWantedBy=timers.target\n")
    timers = ("dnf-automatic", "dnf-automatic-install")
    automatic = {f"/usr/lib/systemd/system/{name}.timer": timer for name in timers}
    return [
        *(Package(name=name, version="1") for name in DEBIANS),
        Package(name="dnf-automatic", version="4.14", files=automatic),
        Package(name="chrony", version="4.3", files=chrony),
    ]
