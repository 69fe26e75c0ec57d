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
