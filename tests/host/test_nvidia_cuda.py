"""What the role nvidia_cuda promises: the stack's toolkit in its usual place, which compiles."""

import json
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

HOME = "/usr/local/cuda"
PROGRAM = """
#include <cuda_runtime.h>
#include <cstdio>
__global__ void add(float *x) { x[threadIdx.x] += 1; }
int main() {
    int version = 0;
    cudaRuntimeGetVersion(&version);
    std::printf("%d.%d", version / 1000, version % 1000 / 10);
}
"""


def release(version: str) -> str:
    """Major and minor number."""
    return ".".join(version.split(".")[:2])


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    shown = re.search(r"release ([0-9.]+),", host.check_output(f"{HOME}/bin/nvcc --version"))
    assert shown is not None
    assert shown[1] == release(stack_versions["nvidia_cuda_release"])
    text = host.file("/etc/bakehouse/components.d/nvidia_cuda.json").content_string
    observed = json.loads(text)["version"]
    record_property("nvidia_cuda", observed)
    assert f"{observed}-".startswith(stack_versions["nvidia_cuda_release"])


def test_usual_place_leads_to_this_release(host: Host, stack_versions: dict[str, str]) -> None:
    major, minor = stack_versions["nvidia_cuda_release"].split(".")[:2]
    chosen = host.check_output(f"readlink -f {HOME}")
    assert chosen == f"{HOME}-{major}.{minor}" or chosen.endswith(f"/nvidia/cu{major}")
    assert host.file("/etc/alternatives/cuda").linked_to == chosen


def test_whoever_logs_in_finds_the_compiler(host: Host) -> None:
    assert host.check_output("env -i sh -c '. /etc/profile; command -v nvcc'") == f"{HOME}/bin/nvcc"
    assert host.check_output("env -i sh -c '. /etc/profile; echo $CUDA_HOME'") == HOME


def test_the_compiler_finds_that_of_the_host(host: Host) -> None:
    assert host.exists("g++")


def test_programs_find_the_runtime(host: Host, stack_versions: dict[str, str]) -> None:
    major = stack_versions["nvidia_cuda_release"].partition(".")[0]
    assert f"libcudart.so.{major}" in host.check_output("/sbin/ldconfig -p")


@pytest.mark.parametrize("path", ["/etc/profile.d/cuda.sh", "/etc/ld.so.conf.d/cuda.conf"])
def test_everybody_may_read_where_it_is(host: Host, path: str) -> None:
    assert host.file(path).mode == 0o644


@pytest.mark.parametrize("runtime", ["static", "shared"])
def test_a_program_compiles_links_and_starts(
    host: Host, stack_versions: dict[str, str], runtime: str
) -> None:
    if "stands in" in host.check_output(f"{HOME}/bin/nvcc --version"):
        pytest.skip("a stand-in for the compiler compiles nothing")
    source, program = f"/tmp/test_cuda_{runtime}.cu", f"/tmp/test_cuda_{runtime}"
    build = f"{HOME}/bin/nvcc -arch=sm_90 -cudart={runtime} -o {program} {source}"
    done = host.run(
        f"cat > {source} <<'END'\n{PROGRAM}\nEND\n"
        f"{build} && {program}; s=$?; rm -f {source} {program}; exit $s"
    )
    assert done.rc == 0, done.stdout + done.stderr
    assert done.stdout == release(stack_versions["nvidia_cuda_release"])
