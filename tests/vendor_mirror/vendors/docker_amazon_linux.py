"""The Docker engine that Amazon Linux has."""

from vendor_mirror.offer import Package, Release, program, unit


def distribution(release: Release) -> list[Package]:
    """The distribution's package; like the real one it makes the group and starts nothing."""
    if release.family != "dnf":
        return []
    files = {
        "/usr/bin/docker": program("exit 1"),
        "/usr/bin/dockerd": program(f"echo 'Docker version {release.version}, build stand-in'"),
        "/usr/lib/systemd/system/docker.service": unit("docker"),
    }
    group = "getent group docker >/dev/null || groupadd --system docker"
    return [Package(name=release.package, version=release.version, files=files, after=group)]
