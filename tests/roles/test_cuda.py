"""CUDA and NCCL from where molecule's scenarios do not take them: wheels, and source."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nccl_programs
import pytest
from docker.models.containers import Container
from role_runs import failure, play
from stand_ins import STACK, StandIn, booted, failed
from vendor_mirror import archives
from vendor_mirror.offer import digest, text

from bakehouse import engine, host_tests
from bakehouse.builder import wheelhouse
from bakehouse.stacks.stack import Stack, load_stack

pytestmark = [pytest.mark.docker, pytest.mark.slow]

COMPILE = ("python_release", "nvidia_cuda_release", "nvidia_nccl_release")
"""What compiles, without the gigabytes of torch."""


@pytest.fixture(scope="module")
def stack() -> Stack:
    whole = load_stack("gpu-wheels")
    records = {name: whole.records[name] for name in COMPILE}
    return replace(whole, name="gpu-wheels-compiler", records=records)


@pytest.fixture(scope="module")
def machine(machine_image: str, stack: Stack) -> Iterator[Container]:
    """A container in which nothing runs, with the wheels beside it."""
    wheels = {str(wheelhouse.prepare(stack)): {"bind": "/wheelhouse", "mode": "ro"}}
    mounts = nccl_programs.MOUNT | wheels
    with engine.running_container(machine_image, ["sleep", "infinity"], volumes=mounts) as running:
        yield running


def apply(container: Container, folder: Path, stack: Stack, **more: Any) -> dict[str, Any]:
    """Run the roles, as an image does."""
    hosts = {"target": {"ansible_connection": "docker", "ansible_host": container.name}}
    roles = ["python", "nvidia_cuda", "nvidia_nccl"]
    tasks = [{"ansible.builtin.include_role": {"name": role}} for role in roles]
    given = {
        "bakehouse_target": "machine",
        "bakehouse_package_lists_valid_s": 3600,
        "bakehouse_wheelhouse": "/wheelhouse",
        **{name: stack.variables[name] for name in COMPILE},
    }
    return play(folder, hosts, tasks, **(given | more))


# The order of these matters: what the first installs, the others look at.
def test_wheels_are_installed_once(machine: Container, tmp_path: Path, stack: Stack) -> None:
    first = apply(machine, tmp_path, stack)
    assert failure(first, "target") == ""
    again = apply(machine, tmp_path, stack)
    assert failure(again, "target") == ""
    assert again["stats"]["target"]["changed"] == 0


def test_wheels_keep_what_the_roles_promise(machine: Container, stack: Stack) -> None:
    roles = ["nvidia_cuda", "nvidia_nccl"]
    host = host_tests.container(str(machine.name))
    verdict = host_tests.run(host, roles, stack, target="machine", booted=False)
    assert failed(verdict) == ""
    assert any("compiles" in r.id and r.status == "pass" for r in verdict.results)


def test_an_nccl_program_compiles_and_finds_no_gpu(machine: Container, stack: Stack) -> None:
    status, output = nccl_programs.compiled_and_run(machine)
    assert output == f"nccl {stack.versions['nvidia_nccl_release']} devices 0\n"
    assert status == nccl_programs.NOTHING_TO_RUN_ON


def test_a_setting_that_nccl_does_not_read_is_refused(
    machine: Container, tmp_path: Path, stack: Stack
) -> None:
    report = apply(machine, tmp_path, stack, nvidia_nccl_conf={"FI_PROVIDER": "efa"})
    assert "FI_PROVIDER" in failure(report, "target")


# Of NVIDIA's Makefile it has the target and the variables; it needs the host's compiler only.
MAKEFILE = """install:
\ttest -x $(CUDA_HOME)/bin/nvcc
\tmkdir -p $(PREFIX)/lib/pkgconfig $(PREFIX)/include
\tgcc -shared -fPIC -Wl,-soname,libnccl.so.2 -o $(PREFIX)/lib/libnccl.so.2 nccl.c
\tln -s libnccl.so.2 $(PREFIX)/lib/libnccl.so
\tcp nccl.h $(PREFIX)/include
\techo "$(NVCC_GENCODE)" > $(PREFIX)/lib/pkgconfig/nccl.pc
"""
HEADER = "#define NCCL_MAJOR 2\n#define NCCL_MINOR 30\n#define NCCL_PATCH 7\n"
LIBRARY = "int ncclGetVersion(int *version) { *version = 23007; return 0; }\n"


@pytest.fixture(scope="module")
def source() -> bytes:
    """An archive as GitHub makes it of a tag."""
    files = {"Makefile": MAKEFILE, "nccl.h": HEADER, "nccl.c": LIBRARY}
    tree = {f"nccl-2.30.7-1/{name}": text(content) for name, content in files.items()}
    return archives.pack(tree, "nccl.tar.gz")


@pytest.fixture(scope="module")
def stand_in(source: bytes) -> Iterator[StandIn]:
    """A machine with the vendor's toolkit stood in for, and the archive at the vendor's address."""
    with booted(STACK, "ubuntu24.04") as running:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as outer:
            member = tarfile.TarInfo("nccl.tar.gz")
            member.size = len(source)
            outer.addfile(member, io.BytesIO(source))
        running.container.put_archive("/srv", buffer.getvalue())
        yield running


def test_nccl_is_built_from_source_and_the_tests_against_it(
    stand_in: StandIn, source: bytes, tmp_path: Path
) -> None:
    variables = stand_in.variables()
    address = "https://vendor.example/"
    record = {"version": "2.30.7", "url": f"{address}nccl.tar.gz", "sha256": digest(source)}
    variables |= {
        "nvidia_nccl_release": record,
        "nvidia_nccl_architectures": ["90", "100"],
        "nccl_tests_mpi_home": "/opt/mpi",
        "bakehouse_mirrors": variables["bakehouse_mirrors"] | {address: "file:///srv/"},
    }
    roles = ["nvidia_cuda", "nvidia_nccl", "nccl_tests"]
    assert failure(stand_in.apply(tmp_path, roles, **variables), "target") == ""
    again = stand_in.apply(tmp_path, roles, **variables)
    assert again["stats"]["target"]["changed"] == 0

    assert stand_in.broken_promises(roles, load_stack(STACK).variables) == ""
    shown = stand_in.said("cat", "/usr/local/nccl/lib/pkgconfig/nccl.pc")
    assert "arch=compute_100,code=sm_100" in shown
    started = stand_in.container.exec_run(["all_reduce_perf_mpi", "--help"]).output
    assert b"NCCL 23007" in started


def test_the_whole_toolkit_comes_where_it_is_wanted(stand_in: StandIn, tmp_path: Path) -> None:
    variables = stand_in.variables() | {"nvidia_cuda_contents": "full"}
    assert failure(stand_in.apply(tmp_path, ["nvidia_cuda"], **variables), "target") == ""
    again = stand_in.apply(tmp_path, ["nvidia_cuda"], **variables)
    assert again["stats"]["target"]["changed"] == 0

    package, version = (variables["nvidia_cuda_release"][key] for key in ("package", "version"))
    shown = stand_in.said("dpkg-query", "--show", "--showformat=${Status} ${Version}", package)
    assert shown.startswith(f"install ok installed {version}-")
    record = json.loads(stand_in.said("cat", "/etc/bakehouse/components.d/nvidia_cuda.json"))
    assert record["package"] == package
