"""The archive of AWS's EFA installer: its script, and packages for each system that it supports.

Names and versions of the packages as in the package_list.txt of installer 1.49.0 and in the lists
that the installer leaves on machines; their files as the installer reports them: "libfabric1-aws is
verified to install /opt/amazon/efa/lib/libfabric.so", openmpi50-aws /opt/amazon/openmpi5, and
efa-profile /etc/ld.so.conf.d/000_efa.conf and /etc/profile.d/zippy_efa.sh.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from vendor_mirror import apt, dnf
from vendor_mirror.offer import File, Files, Package, Release, library, program, text

FOLDER = "aws-efa-installer"
SYSTEMS = {
    "ubuntu22.04": "DEBS/UBUNTU2204",
    "ubuntu24.04": "DEBS/UBUNTU2404",
    "debian12": "DEBS/DEBIAN12",
    "amazon2023": "RPMS/ALINUX2023",
}
SCRIPT = Path(__file__).with_name("efa_installer.sh")

_FI_INFO = """\
case "$*" in
*--version*) printf 'libfabric: {version}\\nlibfabric api: 2.0\\n' ;;
*) echo 'fi_getinfo: -61 (No data available)' >&2; exit 61 ;;
esac"""
_PROFILE = """\
PATH=/opt/amazon/efa/bin:/opt/amazon/openmpi5/bin:$PATH
MODULEPATH=/opt/amazon/modules/modulefiles:$MODULEPATH
"""


def archive(release: Release) -> Files:
    """The tree in the archive; packages for the one system that is asked for."""
    system = release.platform.rpartition("-")[0]
    base = f"{SYSTEMS[system]}/{release.architecture}"
    files: dict[str, File] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for folder, package in _packages(release):
            place = Path(scratch, base, folder)
            place.mkdir(parents=True, exist_ok=True)
            (dnf if release.family == "dnf" else apt).build(package, place)
        for path in sorted(Path(scratch).rglob("*")):
            if path.is_file():
                files[str(path.relative_to(scratch))] = File(content=path.read_bytes())
    listing = "".join(f"{name}\n" for name in sorted(files))
    files |= {
        "efa_installer.sh": File(content=SCRIPT.read_bytes(), mode=0o755),
        "env.sh": text(f"EFA_INSTALLER_VERSION={release.version}\n"),
        "common.sh": text("# functions of AWS's script stand here\n"),
        "package_list.txt": text(listing),
    }
    return {f"{FOLDER}/{name}": file for name, file in files.items()}


def _packages(release: Release) -> Iterator[tuple[str, Package]]:
    """Folder and package."""
    bundled = release.bundled
    libfabric, open_mpi = bundled["libfabric_release"], bundled["open_mpi_release"]
    driver = bundled["efa_driver_release"]
    suffix = "" if release.family == "dnf" else "1"
    yield (
        "",
        Package(
            name=f"libfabric{suffix}-aws",
            version=libfabric,
            files={
                "/opt/amazon/efa/bin/fi_info": program(_FI_INFO.format(version=libfabric)),
                "/opt/amazon/efa/lib/libfabric.so": library("int fixture_libfabric;"),
            },
        ),
    )
    for name, folder, version in (
        ("openmpi40-aws", "openmpi", "4.1.7"),
        ("openmpi50-aws", "openmpi5", open_mpi),
    ):
        says = program(f"echo 'mpirun (Open MPI) {version}'")
        files = {
            f"/opt/amazon/{folder}/bin/mpirun": says,
            f"/opt/amazon/{folder}/lib/libmpi.so": library("int fixture_mpi;"),
        }
        yield "", Package(name=name, version=version, files=files)
    # A stack without NCCL says nothing about the plugin for it.
    if plugin := bundled.get("aws_ofi_nccl_release"):
        yield "", Package(name="libnccl-ofi", version=plugin, files=_plugin(plugin))
    yield (
        "",
        Package(
            name="efa-profile",
            version="1.7",
            files={
                "/etc/ld.so.conf.d/000_efa.conf": text("/opt/amazon/efa/lib\n"),
                "/etc/profile.d/zippy_efa.sh": text(_PROFILE),
            },
        ),
    )
    limits = {"/etc/security/limits.d/01_efa.conf": text("* - memlock unlimited\n")}
    yield "", Package(name="efa-config", version="1.18", files=limits)
    yield "", Package(name="efa-nv-peermem", version="1.2.3")
    source = {f"/usr/src/efa-{driver}/dkms.conf": text(f'PACKAGE_VERSION="{driver}"\n')}
    yield "efa-driver", Package(name="efa", version=driver, files=source)
    yield "rdma-core", Package(name="rdma-core", version=bundled["rdma_core_release"])


def _plugin(version: str) -> Files:
    """The OFI plugin; its version stands in the library, as in AWS's."""
    built = library(f'const char *fixture = "NET/OFI Initializing aws-ofi-nccl {version}";')
    folder = "/opt/amazon/ofi-nccl/lib"
    return {
        f"{folder}/libnccl-net-ofi.so": built,
        f"{folder}/libnccl-net.so": File(link="libnccl-net-ofi.so"),
        f"{folder}/libnccl-tuner-ofi.so": built,
        f"{folder}/libnccl-ofi-tuner.so": File(link="libnccl-tuner-ofi.so"),
        "/etc/ld.so.conf.d/100_ofinccl.conf": text(f"{folder}\n"),
    }
