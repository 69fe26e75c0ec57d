"""What the role aws_ofi_nccl promises: the stack's plugin, which the loader and NCCL find."""

import json
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

RECORD = "/etc/bakehouse/components.d/aws_ofi_nccl.json"


@pytest.fixture
def named(host: Host) -> dict[str, str]:
    """What NCCL is told in its file."""
    lines = host.file("/etc/nccl.conf").content_string.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")


def test_version_is_the_stacks(
    host: Host,
    stack_versions: dict[str, str],
    named: dict[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    said = host.check_output(f"grep -aoE 'aws-ofi-nccl [0-9.]+' {named['NCCL_NET_PLUGIN']}")
    observed = re.search(r"aws-ofi-nccl ([0-9.]+)", said)
    assert observed is not None
    record_property("aws_ofi_nccl", observed[1])
    assert observed[1] == stack_versions["aws_ofi_nccl_release"]
    assert json.loads(host.file(RECORD).content_string)["version"] == observed[1]


def test_nccl_is_told_of_plugin_and_tuner(host: Host, named: dict[str, str]) -> None:
    assert host.file(named["NCCL_NET_PLUGIN"]).exists
    assert host.file(named["NCCL_TUNER_PLUGIN"]).exists
    assert "tuner" in named["NCCL_TUNER_PLUGIN"]


def test_the_loader_finds_the_plugin(host: Host, named: dict[str, str]) -> None:
    assert named["NCCL_NET_PLUGIN"] in host.check_output("ldconfig -p")
    assert host.file("/etc/ld.so.conf.d/100_ofinccl.conf").mode == 0o644


def test_it_needs_no_library_that_is_not_there(host: Host, named: dict[str, str]) -> None:
    needed = host.check_output(f"ldd {named['NCCL_NET_PLUGIN']}")
    # CUDA's driver library comes with the machine that has the GPUs.
    missing = [line for line in needed.splitlines() if "not found" in line]
    assert [line for line in missing if "libcuda.so" not in line] == []


def test_everybody_may_read_what_nccl_is_told(host: Host) -> None:
    assert host.file("/etc/nccl.conf").mode == 0o644
