"""DCGM's exporter as NVIDIA's repository has it, with the unit of its source's folder packaging."""

from vendor_mirror.offer import Package, Release, program, text

# It answers to its first argument; as a service it only waits.
PROGRAM = """test "$1" = --version || exec sleep infinity
echo 'DCGM Exporter version 4.0.0-{version}'"""
UNIT = """[Unit]
Description=stands in for the exporter
Wants=nvidia-dcgm.service
After=nvidia-dcgm.service

[Service]
ExecStart=/usr/bin/dcgm-exporter -f /etc/dcgm-exporter/default-counters.csv

[Install]
WantedBy=multi-user.target
"""


def packages(release: Release) -> list[Package]:
    """The one package; it works with any DCGM 4."""
    files = {
        "/usr/bin/dcgm-exporter": program(PROGRAM.format(version=release.version)),
        "/etc/dcgm-exporter/default-counters.csv": text("# stands in\n"),
        "/usr/lib/systemd/system/nvidia-dcgm-exporter.service": text(UNIT),
    }
    core = "datacenter-gpu-manager-4-core"
    return [Package(name=release.package, version=release.version, depends=(core,), files=files)]
