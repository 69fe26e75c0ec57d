"""What the role nvidia_dcgm promises: the stack's DCGM, and a host engine that starts on boot."""

import re
from collections.abc import Callable

import pytest
from testinfra.host import Host


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    observed = re.search(r"version: *([0-9.]+)", host.check_output("dcgmi --version"))
    assert observed is not None
    record_property("nvidia_dcgm", observed[1])
    assert observed[1] == stack_versions["nvidia_dcgm_release"]


def test_host_engine_starts_on_boot(host: Host, image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("a container uses the host engine of its host")
    assert host.service("nvidia-dcgm").is_enabled


@pytest.fixture
def exporter(image_target: str, stack_versions: dict[str, str]) -> str:
    """The version that the exporter should have, where there is one."""
    if image_target != "machine":
        pytest.skip("the exporter runs on the host of a container")
    if "nvidia_dcgm_exporter_release" not in stack_versions:
        pytest.skip("the stack has no exporter")
    return stack_versions["nvidia_dcgm_exporter_release"]


def test_exporter_is_the_stacks(
    host: Host, exporter: str, record_property: Callable[[str, object], None]
) -> None:
    observed = host.check_output("dcgm-exporter --version").rpartition("-")[2]
    record_property("nvidia_dcgm_exporter", observed)
    assert observed == exporter


def test_exporter_starts_on_boot(host: Host, exporter: str) -> None:
    assert exporter
    assert host.service("nvidia-dcgm-exporter").is_enabled


def test_exporter_and_machine_have_one_host_engine(host: Host, exporter: str) -> None:
    assert exporter
    drop_in = "/etc/systemd/system/nvidia-dcgm-exporter.service.d/bakehouse.conf"
    assert host.file(drop_in.rpartition("/")[0]).mode == 0o755
    shown = host.file(drop_in).content_string
    uses_the_machines = "DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555" in shown
    assert uses_the_machines == host.service("nvidia-dcgm").is_enabled
    assert uses_the_machines == ("Requires=nvidia-dcgm.service" in shown)
