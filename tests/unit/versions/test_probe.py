"""The probe: every component from every place, and what is broken, hangs or lies."""

import ast
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_node import EFA, SITE, FakeNode, nccl_library

from bakehouse.versions import probe
from bakehouse.versions.components import COMPONENTS
from bakehouse.versions.reach import PROBE, SCHEMA

LIB = "/usr/lib/x86_64-linux-gnu"
PLACES: list[tuple[str, str, str, tuple[str | bytes, ...]]] = [
    ("os", "Debian GNU/Linux 12", "write",
     ("/etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12"\n')),
    ("os", "Alpine", "write", ("/etc/os-release", "ID=alpine\nPRETTY_NAME=Alpine\n")),
    ("kernel", "6.8.0-1015-aws", "write", ("/proc/sys/kernel/osrelease", "6.8.0-1015-aws\n")),
    ("python", "3.9.18", "says", ("/usr/bin/python3", "Python 3.9.18")),
    ("nvidia_driver", "535.129.03", "write",
     ("/proc/driver/nvidia/version",
      "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu\nGCC version: 12.2\n")),
    ("nvidia_driver", "595.91.07", "write",
     ("/proc/driver/nvidia/version",
      "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  595.91.07  Release Build\n")),
    ("nvidia_driver", "595.91.07", "says", ("/usr/bin/nvidia-smi", "595.91.07\n595.91.07")),
    ("nvidia_driver", "580.10", "write", (f"{LIB}/libnvidia-ml.so.1", "")),
    ("nvidia_fabric_manager", "595.91.07", "says",
     ("/usr/bin/nv-fabricmanager", "Fabric Manager version is : 595.91.07")),
    ("nvidia_fabric_manager", "595.91.07-1ubuntu1", "package",
     ("nvidia-fabricmanager-595", "595.91.07-1ubuntu1")),
    ("nvidia_cuda", "13.2.2", "write",
     ("/usr/local/cuda/version.json",
      '{\n "cuda" : {\n  "name" : "CUDA",\n  "version" : "13.2.2"\n }, "x": {"version": "1.2"}}')),
    ("nvidia_cuda", "12.8", "says",
     ("/usr/local/cuda/bin/nvcc", "Cuda compilation tools, release 12.8, V12.8.93")),
    ("nvidia_cudnn", "9.26.0", "write",
     ("/usr/include/x86_64-linux-gnu/cudnn_version_v9.h",
      "#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 26\n#define CUDNN_PATCHLEVEL 0\n")),
    ("nvidia_cudnn", "9.26.0.51-1", "package", ("libcudnn9-cuda-13", "9.26.0.51-1")),
    ("aws_efa_installer", "1.50.0", "write",
     (EFA, "# EFA installer version: 1.50.0\n# Debug packages installed: no\n")),
    ("efa_driver", "3.3.0", "module", ("efa", "3.3.0g")),
    ("efa_driver", "2.17.3", "write", ("/usr/src/efa-2.17.3/dkms.conf", "")),
    ("libfabric", "2.6.0amzn1.0", "says",
     ("/opt/amazon/efa/bin/fi_info",
      "fi_info: 2.6.0amzn1.0\nlibfabric: 2.6.0amzn1.0\nlibfabric api: 2.6")),
    ("aws_ofi_nccl", "1.13.2", "write",
     ("/opt/aws-ofi-nccl/lib/libnccl-net.so", b"\0NET/OFI Initializing aws-ofi-nccl 1.13.2-aws\0")),
    ("aws_ofi_nccl", "1.14.0", "write",
     ("/opt/amazon/ofi-nccl/lib64/libnccl-net-ofi.so",
      b"\0NET/OFI Initializing aws-ofi-nccl 1.14.0\0")),
    ("aws_ofi_nccl", "1.21.1", "write",
     ("/opt/aws-ofi-nccl/install/lib/libnccl-net.so", b"\0Initializing aws-ofi-nccl 1.21.1\n\0")),
    ("aws_ofi_nccl", "git-6e504db", "write",
     ("/opt/amazon/ofi-nccl/lib/x86_64-linux-gnu/libnccl-net.so", b"\0aws-ofi-nccl git-6e504db\0")),
    ("nvidia_gdrcopy", "2.5.1", "package", ("libgdrapi", "2.5.1")),
    ("nvidia_gdrcopy", "2.6", "write", ("/usr/lib/libgdrapi.so.2.6", "")),
    ("gdrcopy_module", "2.6", "module", ("gdrdrv", "2.6")),
    ("open_mpi", "4.1.4", "says", ("/usr/bin/mpirun", "mpirun (Open MPI) 4.1.4\n\nReport bugs")),
    ("rdma_core", "64.0-1", "package", ("rdma-core", "64.0-1")),
    ("rdma_core", "44.0", "write", (f"{LIB}/libibverbs.so.1.14.44.0", "")),
    ("pytorch", "2.13.0+cpu", "distribution", ("torch", "2.13.0+cpu")),
    ("pytorch", "2.6.0a0", "distribution",
     ("torch", "2.6.0a0", "/usr/local/lib/python3.12/dist-packages")),
    ("neuron_driver", "2.21", "module", ("neuron", "2.21")),
    ("neuron_driver", "2.21.37.0", "write", ("/usr/src/aws-neuronx-2.21.37.0/dkms.conf", "")),
    ("neuron_runtime", "2.24.53.0-f239092cc", "package",
     ("aws-neuronx-runtime-lib", "2.24.53.0-f239092cc")),
    ("neuron_runtime", "2.24.53.0", "write", ("/opt/aws/neuron/lib/libnrt.so.2.24.53.0", "")),
    ("neuron_collectives", "2.24.59.0-838c7fc8b", "package",
     ("aws-neuronx-collectives", "2.24.59.0-838c7fc8b")),
    ("neuron_tools", "2.22.61.0", "package", ("aws-neuronx-tools", "2.22.61.0")),
    ("neuronx_cc", "2.17.194.0", "distribution", ("neuronx_cc", "2.17.194.0")),
    ("torch_neuronx", "2.6.0.2.4.5891", "distribution",
     ("torch_neuronx", "2.6.0.2.4.5891", "/opt/aws_neuronx_venv/lib/python3.10/site-packages")),
    ("nvidia_dcgm", "4.6.0", "says", ("/usr/bin/dcgmi", "\ndcgmi  version: 4.6.0\n")),
    ("nvidia_dcgm", "4.6.0-1", "package", ("datacenter-gpu-manager-4-core", "1:4.6.0-1")),
    ("nvidia_container_toolkit", "1.20.0", "says",
     ("/usr/bin/nvidia-ctk", "NVIDIA Container Toolkit CLI version 1.20.0\ncommit: 1")),
    ("docker", "20.10.24+dfsg1", "says",
     ("/usr/bin/docker", "Docker version 20.10.24+dfsg1, build 297e128")),
    ("enroot", "4.1.2", "says", ("/usr/bin/enroot", "4.1.2")),
    ("pyxis", "0.24.0", "write", (f"{LIB}/slurm/spank_pyxis.so", b"\0pyxis: version v0.24.0\0")),
    ("slurm", "22.05.8", "says", ("/usr/bin/sinfo", "slurm-wlm 22.05.8")),
    ("slurm", "25.05.3", "says", ("/opt/slurm/sbin/../bin/sinfo", "slurm 25.05.3")),
    ("aws_lustre", "2.15.6", "says", ("/usr/bin/lfs", "lfs 2.15.6")),
    ("aws_lustre", "2.15.6-1fsx8", "package",
     ("lustre-client-modules-6.8.0-1015-aws", "2.15.6-1fsx8")),
]  # fmt: skip


def examined(node: FakeNode, component: str, limit_s: float = 5.0, *, image: bool = False) -> Any:
    """What the probe finds of one component."""
    return probe.examine(component, probe.Target(str(node.root), limit_s, image))


def versions_of(answer: Any) -> list[str]:
    """The versions in an answer."""
    return [each["version"] for each in answer["found"]]


def sent(root: Path, *options: str, limit_s: float = 5.0) -> dict[str, Any]:
    """Send the probe to a Python of its own, as to a machine."""
    command = [sys.executable, "-I", "-S", "-", "--root", str(root), "--limit", str(limit_s)]
    done = subprocess.run(
        [*command, *options], stdin=PROBE.open("rb"), capture_output=True, check=True, text=True
    )
    assert not done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(("component", "version", "how", "what"), PLACES)
def test_a_version_is_found_where_it_can_be(
    component: str, version: str, how: str, what: tuple[str, ...], node: FakeNode
) -> None:
    if version == "580.10":
        node.write(f"{LIB}/libnvidia-ml.so.580.10", "")
        (node.root / LIB[1:] / "libnvidia-ml.so.1").symlink_to("libnvidia-ml.so.580.10")
    elif version == "44.0":
        getattr(node, how)(*what)
        (node.root / LIB[1:] / "libibverbs.so.1").symlink_to("libibverbs.so.1.14.44.0")
    else:
        getattr(node, how)(*what)
    answer = examined(node, component)
    assert set(versions_of(answer)) == {version}
    assert not answer["problems"]
    assert answer["found"][0]["where"]


@pytest.mark.parametrize("component", sorted(COMPONENTS))
def test_what_is_not_there_has_a_reason_and_no_problem(component: str, node: FakeNode) -> None:
    answer = examined(node, component)
    assert answer["found"] == answer["problems"] == []
    assert answer["reason"].startswith("nothing at ")


def test_the_probe_and_the_table_name_the_same_components() -> None:
    assert list(probe.COMPONENTS) == list(COMPONENTS)
    assert probe.SCHEMA == SCHEMA
    tried = {component for component, *_ in PLACES} | {"nvidia_nccl", "torch_nccl"}
    assert tried == set(COMPONENTS)


def test_the_probe_is_python_3_9_and_imports_the_standard_library_only() -> None:
    tree = ast.parse(PROBE.read_text(), feature_version=(3, 9))
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)


GARBAGE = [
    "echo '\x1b[31mnothing to see'",
    "exit 3",
    "head -c 3000 /dev/urandom",
    "echo segfault >&2; kill -SEGV $$",
    "yes",
]


@pytest.mark.parametrize("script", GARBAGE)
@pytest.mark.parametrize(
    ("component", "path"),
    [
        ("libfabric", "/opt/amazon/efa/bin/fi_info"),
        ("nvidia_driver", "/usr/bin/nvidia-smi"),
        ("docker", "/usr/bin/docker"),
    ],
)
def test_a_program_that_prints_garbage_is_a_problem(
    component: str, path: str, script: str, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "MOST_OUTPUT", 1 << 20)
    node.program(path, f"ulimit -f 100; {script}" if script == "yes" else script)
    answer = examined(node, component, 2.0)
    assert answer["found"] == []
    assert path in answer["problems"][0]
    assert "gives no version" in answer["problems"][0]


@pytest.mark.parametrize(
    ("component", "path"),
    [
        ("nvidia_cuda", "/usr/local/cuda/version.json"),
        ("nvidia_cudnn", "/usr/include/cudnn_version.h"),
        ("aws_efa_installer", EFA),
        ("aws_ofi_nccl", "/opt/amazon/ofi-nccl/lib/libnccl-net.so"),
        ("pyxis", "/usr/lib/slurm/spank_pyxis.so"),
        ("nvidia_driver", "/proc/driver/nvidia/version"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0\0garbage", b"version"])
def test_a_file_of_garbage_is_a_problem(
    component: str, path: str, content: bytes, node: FakeNode
) -> None:
    node.write(path, content)
    answer = examined(node, component)
    assert answer["found"] == []
    assert answer["problems"] == [f"{path} gives no version"]


def test_a_file_that_is_a_folder_is_a_problem(node: FakeNode) -> None:
    node.write(f"{EFA}/x", "")
    assert "IsADirectoryError" in examined(node, "aws_efa_installer")["problems"][0]


def test_a_program_of_another_architecture_is_a_problem(node: FakeNode) -> None:
    node.program("/usr/bin/docker", "")
    (node.root / "usr/bin/docker").write_bytes(b"\x7fELF\x02\x01\x01")
    assert "OSError" in examined(node, "docker")["problems"][0]


def test_a_second_place_answers_where_the_first_does_not(node: FakeNode) -> None:
    node.program("/usr/bin/nv-fabricmanager", "exit 1")
    node.package("nvidia-fabricmanager", "595.91.07-1")
    answer = examined(node, "nvidia_fabric_manager")
    assert versions_of(answer) == ["595.91.07-1"]
    assert "ended with 1" in answer["problems"][0]


def test_loaded_and_installed_modules_are_both_told(node: FakeNode) -> None:
    node.module("efa", "3.1.0g", "3.3.0g")
    assert [(f["version"], f["where"]) for f in examined(node, "efa_driver")["found"]] == [
        ("3.1.0", "/sys/module/efa/version (loaded)"),
        ("3.3.0", "modinfo efa (on disk)"),
    ]


def test_a_driver_that_differs_from_its_libraries_is_told(node: FakeNode) -> None:
    node.write("/proc/driver/nvidia/version", "Kernel Module  595.91.07  Release Build\n")
    node.says("/usr/bin/nvidia-smi", "595.91.06")
    assert versions_of(examined(node, "nvidia_driver")) == ["595.91.07", "595.91.06"]


def test_a_program_that_never_stops_printing_fills_no_memory(node: FakeNode) -> None:
    node.program("/usr/bin/docker", "exec yes")
    problem = sent(node.root, limit_s=3.0)["components"]["docker"]["problems"][0]
    assert f"ended with {-signal.SIGXFSZ} and gives no version: y y y" in problem


def test_an_image_is_not_asked_what_the_machine_below_runs(node: FakeNode) -> None:
    node.write("/proc/driver/nvidia/version", "Kernel Module  535.129.03  Thu")
    node.write("/proc/sys/kernel/osrelease", "6.1.0-host\n")
    node.module("efa", "3.3.0g")
    assert examined(node, "nvidia_driver", image=True)["found"] == []
    assert examined(node, "efa_driver", image=True)["found"] == []
    assert examined(node, "kernel", image=True)["found"] == []
    node.write("/lib/modules/6.8.0-1015-aws/modules.dep", "")
    assert versions_of(examined(node, "kernel", image=True)) == ["6.8.0-1015-aws"]
    where = "modinfo -k 6.8.0-1015-aws efa (on disk)"
    assert [f["where"] for f in examined(node, "efa_driver", image=True)["found"]] == [where]


def test_every_plugin_and_every_libfabric_is_told(node: FakeNode) -> None:
    node.write("/opt/amazon/ofi-nccl/lib/libnccl-net.so", b"aws-ofi-nccl 1.21.1\0")
    node.write("/opt/aws-ofi-nccl/lib/libnccl-net.so", b"aws-ofi-nccl 1.7.4-aws\0")
    (node.root / "opt/aws-ofi-nccl/lib/libnccl-net-ofi.so").symlink_to("libnccl-net.so")
    node.says("/usr/bin/fi_info", "libfabric: 1.17.0")
    node.says("/opt/amazon/efa/bin/fi_info", "libfabric: 2.6.0amzn1.0")
    assert versions_of(examined(node, "aws_ofi_nccl")) == ["1.21.1", "1.7.4"]
    assert sorted(versions_of(examined(node, "libfabric"))) == ["1.17.0", "2.6.0amzn1.0"]


@pytest.mark.parametrize(
    ("number", "version"), [(23007, "2.30.7"), (21805, "2.18.5"), (2708, "2.7.8")]
)
def test_nccl_says_its_version_itself(
    number: int, version: str, node: FakeNode, tmp_path: Path
) -> None:
    node.write("/opt/nccl/build/lib/libnccl.so.2", nccl_library(tmp_path, f"*v = {number};"))
    assert versions_of(examined(node, "nvidia_nccl")) == [version]


def test_the_nccl_of_the_system_and_that_of_torch_are_told_apart(
    node: FakeNode, tmp_path: Path
) -> None:
    node.write(f"{LIB}/libnccl.so.2", nccl_library(tmp_path, "*v = 22703;"))
    node.write(f"{SITE}/nvidia/nccl/lib/libnccl.so.2", nccl_library(tmp_path, "*v = 23007;"))
    assert versions_of(examined(node, "nvidia_nccl")) == ["2.27.3"]
    assert versions_of(examined(node, "torch_nccl")) == ["2.30.7"]


def test_ldconfig_knows_further_places(node: FakeNode, tmp_path: Path) -> None:
    node.write("/srv/nccl/libnccl.so.2", nccl_library(tmp_path, "*v = 23007;"))
    node.says("/sbin/ldconfig", "\tlibnccl.so.2 (libc6,x86-64) => /srv/nccl/libnccl.so.2")
    found = examined(node, "nvidia_nccl")["found"]
    assert found == [{"version": "2.30.7", "where": "/srv/nccl/libnccl.so.2"}]


@pytest.mark.lengthy
@pytest.mark.parametrize("body", ["*(volatile int *)0 = 1;", "_exit(4);", "sleep(60);"])
def test_an_nccl_that_crashes_or_hangs_is_a_problem(
    body: str, node: FakeNode, tmp_path: Path
) -> None:
    node.write("/opt/nccl/lib/libnccl.so.2", nccl_library(tmp_path, body))
    answer = examined(node, "nvidia_nccl", 1.5)
    assert answer["found"] == []
    assert "/opt/nccl/lib/libnccl.so.2" in answer["problems"][0] or "1.5 s" in answer["problems"][0]


def test_an_nccl_that_does_not_load_is_read(node: FakeNode) -> None:
    node.write("/opt/nccl/lib/libnccl.so.2", b"\x7fELF\0\0NCCL version 2.30.7+cuda13.3\0")
    assert versions_of(examined(node, "nvidia_nccl")) == ["2.30.7"]
    node.write("/opt/nccl/lib/libnccl.so.2", b"garbage")
    assert "invalid ELF header" in examined(node, "nvidia_nccl")["problems"][0] or (
        "file too short" in examined(node, "nvidia_nccl")["problems"][0]
    )


def test_packages_that_were_removed_are_not_there(node: FakeNode) -> None:
    node.package("rdma-core", "50.0-2")
    status = node.root / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace("ok installed", "ok config-files"))
    assert examined(node, "rdma_core")["found"] == []


def test_packages_of_rpm_are_found(node: FakeNode) -> None:
    node.says("/usr/bin/rpm", "bash\t5.2-1\nrdma-core\t64.0-1.amzn2023\nthis is no package")
    assert versions_of(examined(node, "rdma_core")) == ["64.0-1.amzn2023"]


@pytest.mark.lengthy
def test_programs_that_hang_cost_the_limit_once_and_leave_nothing(node: FakeNode) -> None:
    for path in ("bin/docker", "bin/nvidia-smi", "bin/dcgmi", "sbin/modinfo", "bin/mpirun"):
        node.program(f"/usr/{path}", f'echo $$ >>"{node.root}/pids"; sleep 60 & sleep 60')
    node.says("/usr/bin/enroot", "4.1.2")
    started = time.monotonic()
    answer = sent(node.root, limit_s=2.0)
    assert time.monotonic() - started < 5
    components = answer["components"]
    assert components["docker"]["problems"] == ["docker did not end within 2 s"]
    assert "did not end within 2 s" in components["nvidia_driver"]["problems"][0]
    assert components["enroot"]["found"][0]["version"] == "4.1.2"
    groups = (node.root / "pids").read_text().split()
    assert len(groups) >= 5
    ours = subprocess.run(["ps", "-eo", "pgid,stat"], capture_output=True, text=True, check=True)
    alive = [line.split() for line in ours.stdout.splitlines()]
    assert [group for group, stat in alive if group in groups and "Z" not in stat] == []


def test_the_probe_says_who_it_asked(node: FakeNode) -> None:
    node.write("/etc/bakehouse/image.json", '{"image": "gpu", "stack": {"name": "gpu-cuda13"}}')
    answer = sent(node.root)
    assert answer["bakehouse_versions"] == SCHEMA
    assert answer["identity"]["stack"]["name"] == "gpu-cuda13"
    assert set(answer["components"]) == set(COMPONENTS)
    assert set(answer) == {"bakehouse_versions", "host", "identity", "components"}
    node.write("/etc/bakehouse/image.json", "no JSON")
    assert sent(node.root)["identity"] is None
