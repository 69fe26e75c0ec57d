"""DCGM as NVIDIA's repository has it."""

from vendor_mirror.offer import Package, Release, program, text

UNIT = """[Unit]
Description=stands in for the host engine

[Service]
ExecStart=/usr/bin/nv-hostengine -n

[Install]
WantedBy=multi-user.target
"""


def packages(release: Release) -> list[Package]:
    """The package of the record, and the one that it needs."""
    core = "datacenter-gpu-manager-4-core"
    files = {
        "/usr/bin/dcgmi": program(f"echo 'dcgmi  version: {release.version}'"),
        "/usr/bin/nv-hostengine": program("exec sleep infinity"),
        "/usr/lib/systemd/system/nvidia-dcgm.service": text(UNIT),
    }
    return [
        Package(name=core, version=release.version, epoch=1, files=files),
        Package(name=release.package, version=release.version, epoch=1, depends=(core,)),
    ]
