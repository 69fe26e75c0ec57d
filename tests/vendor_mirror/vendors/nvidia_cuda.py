"""The CUDA toolkit as NVIDIA's repository has it: packages named by release, side by side.

The parts and what needs what: docs.nvidia.com/cuda/cuda-installation-guide-linux, "Meta Packages".
Its tree is registered as an alternative by the package of the release's configuration.
"""

from vendor_mirror.offer import File, Package, Release, library, link, program, text

NVCC = """echo 'nvcc: stands in for the Cuda compiler driver'
echo 'Cuda compilation tools, release {release}, V{release}.99'"""


def packages(release: Release) -> list[Package]:
    """The whole toolkit, its smallest part that compiles, and what both need."""
    major, minor = release.version.split(".")[:2]
    named = f"{major}-{minor}"
    tree = f"/usr/local/cuda-{major}.{minor}"
    configuration, compiler = f"cuda-toolkit-{named}-config-common", f"cuda-nvcc-{named}"
    smallest = f"cuda-minimal-build-{named}"
    files = {
        f"{tree}/bin/nvcc": program(NVCC.format(release=f"{major}.{minor}")),
        f"{tree}/bin/ptxas": program("echo 'ptxas: stands in'"),
        f"{tree}/include/cuda_runtime.h": text("/* stands in */\n"),
        **_runtime(f"{tree}/lib64", major),
    }
    rank = int(major) * 10 + int(minor)
    register = f"update-alternatives --install /usr/local/cuda cuda {tree} {rank}"
    version = release.version
    return [
        Package(name=configuration, version=version, after=register),
        Package(
            name=compiler, version=f"{major}.{minor}.99", depends=(configuration,), files=files
        ),
        Package(name=smallest, version=version, depends=(compiler,)),
        Package(name=f"cuda-toolkit-{named}", version=version, depends=(smallest,)),
    ]


def distribution(release: Release) -> list[Package]:
    """Amazon Linux's own compiler; Debian's is real."""
    if release.family != "dnf":
        return []
    return [Package(name="gcc-c++", version="11.4.1", files={"/usr/bin/g++": program("exit 1")})]


def _runtime(folder: str, major: str) -> dict[str, File]:
    soname = f"libcudart.so.{major}"
    return {
        f"{folder}/{soname}": library("int stands_in;\n", f"-Wl,-soname,{soname}"),
        f"{folder}/libcudart.so": link(soname),
    }
