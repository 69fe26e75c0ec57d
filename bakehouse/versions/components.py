"""What the probe asks for: titles, the records of a stack that promise it, how versions compare."""

import fnmatch
import re
from dataclasses import dataclass

from bakehouse.checks.versions import same_version
from bakehouse.stacks.stack import Stack


@dataclass(frozen=True, kw_only=True)
class Component:
    """One component, as the probe calls it.

    Attributes:
        title: For people.
        records: Records of a stack that promise its version; the first that is there counts.
        on_amazon_linux: Those that count before them where Amazon Linux has a package of its own.
        wheels: Patterns of the stack's Python packages that do, where no record does.
        coarse: What is measured may leave out the last parts: nvcc says 13.2 of 13.2.2.
        side_by_side: Several are meant to stand beside each other; one has to agree.
    """

    title: str
    records: tuple[str, ...] = ()
    on_amazon_linux: tuple[str, ...] = ()
    wheels: tuple[str, ...] = ()
    coarse: bool = False
    side_by_side: bool = False

    def records_on(self, system: str) -> tuple[str, ...]:
        """The records that count on a system, named as in PRETTY_NAME of its os-release."""
        first = self.on_amazon_linux if system.startswith("Amazon Linux") else ()
        return (*first, *self.records)

    def promised(self, promises: "Promises", system: str = "") -> str | None:
        """The version that a stack promises on a system; None if it says nothing."""
        for record in self.records_on(system):
            if record in promises.versions:
                return promises.versions[record]
        for pattern in self.wheels:
            for name in fnmatch.filter(promises.wheels, pattern):
                return promises.wheels[name]
        return None

    def agrees(self, observed: str, promised: str) -> bool:
        """Whether a measured version is the promised one."""
        if same_version(observed, promised):
            return True
        # Amazon's own builds are 2.6.0amzn1.0 in release notes; not every program says all of it.
        shorter = rf"{re.escape(observed)}(\.|amzn)"
        return self.coarse and "." in observed and re.match(shorter, promised) is not None


@dataclass(frozen=True, kw_only=True)
class Promises:
    """What a stack promises.

    Attributes:
        name: The stack.
        versions: Record to version.
        wheels: Python package to version.
    """

    name: str
    versions: dict[str, str]
    wheels: dict[str, str]

    @classmethod
    def of(cls, stack: Stack) -> "Promises":
        """Those of a stack."""
        wheels = {name: version for _, _, name, version in stack.python_pins()}
        return cls(name=stack.name, versions=stack.versions, wheels=wheels)


COMPONENTS = {
    "os": Component(title="OS"),
    "kernel": Component(title="kernel"),
    "python": Component(title="Python", records=("python_release",)),
    "nvidia_driver": Component(title="NVIDIA driver", records=("nvidia_driver_release",)),
    "nvidia_fabric_manager": Component(
        title="fabric manager", records=("nvidia_fabric_manager_release",)
    ),
    "nvidia_cuda": Component(
        title="CUDA", records=("nvidia_cuda_release",), wheels=("cuda-toolkit",), coarse=True
    ),
    "nvidia_cudnn": Component(
        title="cuDNN",
        records=("nvidia_cudnn_release",),
        wheels=("nvidia-cudnn-cu*",),
        coarse=True,
    ),
    "nvidia_nccl": Component(title="NCCL", records=("nvidia_nccl_release",)),
    "torch_nccl": Component(title="NCCL that torch loads", wheels=("nvidia-nccl-cu*",)),
    "aws_efa_installer": Component(
        title="EFA installer", records=("aws_efa_installer_release", "aws_efa_release")
    ),
    "efa_driver": Component(title="EFA driver module", records=("efa_driver_release",)),
    "libfabric": Component(
        title="libfabric", records=("libfabric_release",), coarse=True, side_by_side=True
    ),
    "aws_ofi_nccl": Component(title="OFI plugin", records=("aws_ofi_nccl_release",)),
    "nvidia_gdrcopy": Component(title="GDRCopy", records=("nvidia_gdrcopy_release",)),
    "gdrcopy_module": Component(title="GDRCopy module", records=("nvidia_gdrcopy_release",)),
    # The EFA installer puts Open MPI 4 beside 5.
    "open_mpi": Component(
        title="Open MPI", records=("open_mpi_release",), coarse=True, side_by_side=True
    ),
    "rdma_core": Component(title="rdma-core", records=("rdma_core_release",)),
    "pytorch": Component(title="PyTorch", records=("pytorch_release",), side_by_side=True),
    "neuron_driver": Component(title="Neuron driver", records=("neuron_driver_release",)),
    "neuron_runtime": Component(title="Neuron runtime", records=("neuron_runtime_release",)),
    "neuron_collectives": Component(
        title="Neuron collectives", records=("neuron_collectives_release",)
    ),
    "neuron_tools": Component(title="Neuron tools", records=("neuron_tools_release",)),
    "neuronx_cc": Component(
        title="neuronx-cc",
        records=("neuronx_cc_release",),
        wheels=("neuronx-cc",),
        side_by_side=True,
    ),
    "torch_neuronx": Component(
        title="torch-neuronx",
        records=("torch_neuronx_release", "pytorch_neuron_release"),
        wheels=("torch-neuronx",),
        side_by_side=True,
    ),
    "nvidia_dcgm": Component(title="DCGM", records=("nvidia_dcgm_release",)),
    "nvidia_container_toolkit": Component(
        title="container toolkit", records=("nvidia_container_toolkit_release",)
    ),
    "docker": Component(
        title="Docker",
        records=("docker_release",),
        on_amazon_linux=("docker_amazon_linux_release",),
    ),
    "enroot": Component(title="enroot", records=("enroot_release",)),
    "pyxis": Component(title="pyxis", records=("pyxis_release",)),
    "slurm": Component(title="Slurm", records=("slurm_release",)),
    "aws_lustre": Component(title="Lustre client", records=("aws_lustre_release",)),
}
