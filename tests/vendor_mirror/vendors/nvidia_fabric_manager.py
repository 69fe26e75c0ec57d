"""Fabric Manager, NSCQ and IMEX as NVIDIA's repositories have them, from branch 580 on."""

from vendor_mirror.offer import Package, Release, program, unit


def packages(release: Release) -> list[Package]:
    """The services with their units, and the library."""
    version = release.version
    return [
        Package(
            name="nvidia-fabricmanager",
            version=version,
            files={
                "/usr/bin/nv-fabricmanager": program(
                    f"echo 'Fabric Manager version is : {version}'"
                ),
                "/usr/lib/systemd/system/nvidia-fabricmanager.service": unit("Fabric Manager"),
            },
        ),
        Package(name="libnvidia-nscq", version=version),
        Package(
            name="nvidia-imex",
            version=version,
            files={
                "/usr/bin/nvidia-imex": program("exec sleep infinity"),
                "/usr/lib/systemd/system/nvidia-imex.service": unit("IMEX"),
            },
        ),
    ]
