"""What the role efa_exporter promises: counters of the adapters, served from boot on."""

import os

import pytest
from testinfra.host import Host

PROGRAM = "/opt/bakehouse/efa_exporter.py"
SERVICE = "efa_exporter"


@pytest.fixture(autouse=True)
def machine(image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("adapters are counted by the machine, not by its containers")


def test_program_counts_the_adapters(host: Host) -> None:
    links = "/sys/class/infiniband/*/device/driver"
    # Without any adapter there is nothing to read.
    drivers = host.run(f"readlink --canonicalize {links}").stdout
    adapters = sum(line.endswith("/efa") for line in drivers.splitlines())
    shown = host.check_output(f"/usr/bin/python3 {PROGRAM} --once").splitlines()
    assert f"efa_devices {adapters}" in shown


def test_starts_on_boot(host: Host) -> None:
    assert host.service(SERVICE).is_enabled


def test_runs_as_nobody_in_particular(host: Host) -> None:
    unit = host.file(f"/etc/systemd/system/{SERVICE}.service")
    assert unit.mode == 0o644
    lines = unit.content_string.splitlines()
    assert {"DynamicUser=yes", "CapabilityBoundingSet=", "ProtectSystem=strict"} <= set(lines)


@pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != SERVICE, reason="a live node runs it"
)
def test_baking_does_not_start_it(host: Host) -> None:
    assert host.run(f"systemctl is-active {SERVICE}").stdout.strip() == "inactive"
