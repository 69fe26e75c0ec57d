"""What the role nccl_tests promises: the programs by name, linked to the NCCL of the image."""

import json
from collections.abc import Callable

import pytest
from testinfra.host import Host

PROGRAMS = (
    "all_reduce_perf",
    "all_gather_perf",
    "reduce_scatter_perf",
    "alltoall_perf",
    "sendrecv_perf",
)


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    record = json.loads(host.file("/etc/bakehouse/components.d/nccl_tests.json").content_string)
    record_property("nccl_tests", record["version"])
    assert record["package"] == "nccl-tests"
    assert record["version"] == stack_versions["nccl_tests_release"]
    mark = host.check_output("cat /opt/nccl-tests/.fetched-*")
    assert stack_versions["nccl_tests_release"] in mark


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_is_found_and_starts(host: Host, program: str) -> None:
    assert "USAGE" in host.run(f"{program} --help").stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_is_linked_to_the_images_nccl(host: Host, program: str) -> None:
    needed = host.check_output(f"ldd $(readlink -f /usr/local/bin/{program})").splitlines()
    (found,) = [line.split()[2] for line in needed if "libnccl.so.2" in line]
    record = json.loads(host.file("/etc/bakehouse/components.d/nvidia_nccl.json").content_string)
    wanted = {host.check_output(f"readlink -f {path}") for path in record["paths"]}
    assert host.check_output(f"readlink -f {found}") in wanted


def test_nothing_half_built_is_left(host: Host) -> None:
    assert host.run("ls -d /opt/nccl-tests/*.building").stdout == ""
