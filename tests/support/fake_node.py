"""A folder that stands in for a machine: the probe's root, with programs that answer."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SITE = "/opt/venv/lib/python3.12/site-packages"
EFA = "/opt/amazon/efa_installed_packages"


@dataclass(frozen=True)
class FakeNode:
    """Files and programs below a root."""

    root: Path

    def write(self, path: str, content: str | bytes) -> None:
        """Leave a file."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def program(self, path: str, script: str) -> None:
        """Leave a program of the shell."""
        self.write(path, f"#!/bin/sh\n{script}\n")
        (self.root / path.lstrip("/")).chmod(0o755)

    def says(self, path: str, text: str) -> None:
        """Leave a program that prints this, whatever it is asked."""
        self.program(path, "".join(f"echo '{line}'\n" for line in text.split("\n")))

    def package(self, name: str, version: str) -> None:
        """Have a Debian package."""
        status = self.root / "var/lib/dpkg/status"
        status.parent.mkdir(parents=True, exist_ok=True)
        with status.open("a") as stream:
            stream.write(
                f"Package: {name}\nStatus: install ok installed\nPriority: optional\n"
                f"Architecture: amd64\nVersion: {version}\nDescription: x\n y\n\n"
            )

    def distribution(self, name: str, version: str, site: str = SITE) -> None:
        """Have a Python distribution."""
        self.write(f"{site}/{name}-{version}.dist-info/METADATA", f"Name: {name}\n")

    def module(self, name: str, loaded: str, on_disk: str | None = None) -> None:
        """Have a kernel module."""
        self.write(f"/sys/module/{name}/version", f"{loaded}\n")
        answers = self.root / "modules"
        answers.mkdir(parents=True, exist_ok=True)
        (answers / name).write_text(f"{on_disk or loaded}\n")
        self.program(
            "/usr/sbin/modinfo", f'for n; do :; done; read -r v <"{answers}/$n" && echo "$v"'
        )


def nccl_library(folder: Path, body: str) -> bytes:
    """A library whose ncclGetVersion does this."""
    source, made = folder / "nccl.c", folder / "nccl.so"
    source.write_text(f"#include <unistd.h>\nint ncclGetVersion(int *v) {{ {body} return 0; }}\n")
    compiler = shutil.which("cc") or "cc"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source], check=True)
    return made.read_bytes()


def number_of(version: str) -> int:
    """A version as NCCL's programming interface gives it."""
    major, minor, patch = (int(part) for part in version.split("."))
    return major * 10000 + minor * 100 + patch


def gpu_node(root: Path, versions: dict[str, str], library: bytes) -> FakeNode:
    """A machine that has what a stack for NVIDIA GPUs and EFA promises."""
    node = FakeNode(root)
    driver = versions["nvidia_driver_release"]
    node.write("/etc/os-release", 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nID=ubuntu\n')
    node.write("/proc/sys/kernel/osrelease", "6.8.0-1015-aws\n")
    node.says("/opt/venv/bin/python3", f"Python {versions['python_release']}.9")
    node.write(
        "/proc/driver/nvidia/version",
        f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {driver}  Release Build\n",
    )
    node.says("/usr/bin/nvidia-smi", "\n".join([driver] * 8))
    node.module("efa", versions["efa_driver_release"] + "g")
    node.module("gdrdrv", versions["nvidia_gdrcopy_release"])
    fabric_manager = versions["nvidia_fabric_manager_release"]
    node.says("/usr/bin/nv-fabricmanager", f"Fabric Manager version is : {fabric_manager}")
    cuda = versions["nvidia_cuda_release"]
    node.write("/usr/local/cuda/version.json", f'{{"cuda": {{"name": "x", "version": "{cuda}"}}}}')
    major, minor, patch = versions["nvidia_cudnn_release"].split(".")[:3]
    node.write(
        "/usr/include/cudnn_version.h",
        f"#define CUDNN_MAJOR {major}\n#define CUDNN_MINOR {minor}\n"
        f"#define CUDNN_PATCHLEVEL {patch}\n",
    )
    node.write("/opt/nccl/lib/libnccl.so.2", library)
    node.write(f"{SITE}/nvidia/nccl/lib/libnccl.so.2", library)
    installer = versions["aws_efa_installer_release"]
    node.write(EFA, f"# EFA installer version: {installer}\n# Packages installed:\nefa-config_1\n")
    libfabric = versions["libfabric_release"]
    node.says("/opt/amazon/efa/bin/fi_info", f"fi_info: {libfabric}\nlibfabric: {libfabric}")
    plugin = f"\0NET/OFI Initializing aws-ofi-nccl {versions['aws_ofi_nccl_release']}\0"
    node.write("/opt/amazon/ofi-nccl/lib/libnccl-net-ofi.so", b"\x7fELF" + plugin.encode())
    node.says(
        "/opt/amazon/openmpi5/bin/mpirun", f"mpirun (Open MPI) {versions['open_mpi_release']}"
    )
    node.says("/opt/amazon/openmpi/bin/mpirun", "mpirun (Open MPI) 4.1.7")
    node.package("rdma-core", versions["rdma_core_release"] + "-1")
    node.write(f"/usr/lib/libgdrapi.so.{versions['nvidia_gdrcopy_release']}", "")
    node.distribution("torch", versions["pytorch_release"])
    node.says("/usr/bin/dcgmi", f"\ndcgmi  version: {versions['nvidia_dcgm_release']}")
    toolkit = versions["nvidia_container_toolkit_release"]
    node.says("/usr/bin/nvidia-ctk", f"NVIDIA Container Toolkit CLI version {toolkit}\ncommit: 0a1")
    node.says("/usr/bin/docker", f"Docker version {versions['docker_release']}, build 1")
    node.says("/usr/bin/enroot", versions["enroot_release"])
    pyxis = f"\0pyxis: version v{versions['pyxis_release']}\0"
    node.write("/usr/lib/x86_64-linux-gnu/slurm/spank_pyxis.so", pyxis)
    node.says("/opt/slurm/bin/sinfo", "slurm 25.05.3")
    node.says("/usr/bin/lfs", f"lfs {versions['aws_lustre_release']}")
    return node
