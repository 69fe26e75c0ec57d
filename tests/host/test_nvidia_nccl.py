"""What the role nvidia_nccl promises: the stack's library, found by programs, forced upon none."""

import json
import os
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

VERSION = (
    "import ctypes; v = ctypes.c_int(); "
    "ctypes.CDLL('{}').ncclGetVersion(ctypes.byref(v)); print(v.value)"
)
STARTUP_FILES = "/etc/environment /etc/profile /etc/profile.d /etc/bash.bashrc /etc/bashrc"


def test_version_of_the_library_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    # By its name alone, as a program that was linked to it looks for it.
    code = int(host.check_output(f'/usr/bin/python3 -c "{VERSION.format("libnccl.so.2")}"'))
    observed = f"{code // 10000}.{code // 100 % 100}.{code % 100}"
    record_property("nvidia_nccl", observed)
    assert observed == stack_versions["nvidia_nccl_release"]


def test_headers_are_those_of_the_library(host: Host, stack_versions: dict[str, str]) -> None:
    record = json.loads(host.file("/etc/bakehouse/components.d/nvidia_nccl.json").content_string)
    (header,) = [path for path in record["paths"] if path.endswith("nccl.h")]
    defined = dict(
        re.findall(r"#define NCCL_(MAJOR|MINOR|PATCH) +(\d+)", host.file(header).content_string)
    )
    found = f"{defined['MAJOR']}.{defined['MINOR']}.{defined['PATCH']}"
    assert found == stack_versions["nvidia_nccl_release"]


def test_settings_are_lines_that_nccl_reads(host: Host) -> None:
    file = host.file("/etc/nccl.conf")
    assert file.mode == 0o644
    lines = [line for line in file.content_string.splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"NCCL_[A-Z0-9_]+=\S.*", line)] == []


@pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "nvidia_nccl",
    reason="the setting is the molecule scenario's",
)
def test_settings_are_the_given_ones(host: Host) -> None:
    assert "NCCL_DEBUG=WARN" in host.file("/etc/nccl.conf").content_string.splitlines()


def test_nothing_is_preloaded_into_every_program(host: Host) -> None:
    assert not host.file("/etc/ld.so.preload").exists
    assert host.run(f"grep -rs LD_PRELOAD {STARTUP_FILES}").stdout == ""
