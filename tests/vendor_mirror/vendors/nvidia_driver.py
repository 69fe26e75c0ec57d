"""The driver as NVIDIA's repositories have it.

Names: https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/ (recent updates, Debian,
Amazon Linux, compute-only), and the lists of packages in github.com/awslabs/amazon-eks-ami.
"""

from vendor_mirror import kernels
from vendor_mirror.offer import Package, Release, program, text, unit

# As packages do, for the newest kernel only.
_AFTER = """
dkms add -m {name} -v {version}
newest=$(ls /lib/modules | sort -V | tail -n 1)
[ ! -e /lib/modules/$newest/build/Makefile ] || dkms install -m {name} -v {version} -k $newest
"""


def packages(release: Release) -> list[Package]:
    """What a machine without a display needs of the repository."""
    if release.family == "dnf":
        return _rpm(release)
    return _debian(release) if release.platform.startswith("debian") else _ubuntu(release)


def distribution(release: Release) -> list[Package]:
    """What modules are built with."""
    return kernels.distribution(release)


def _user_space(version: str, name: str, folder: str, *, needs: str) -> Package:
    """Libraries, by their names only, and the tool that knows the version."""
    files = {f"{folder}/lib{name}.so.{version}": text("") for name in ("nvidia-ml", "cuda")}
    return Package(
        name=name,
        version=version,
        files=files | {"/usr/bin/nvidia-smi": program(f"echo {version}")},
        depends=(f"{needs} (= {version}-1+fixture)",),
    )


def _persistence_daemon(version: str) -> Package:
    name = "nvidia-persistenced"
    service = {f"/usr/lib/systemd/system/{name}.service": unit(name)}
    return Package(name=name, version=version, files=service)


def _modules(release: Release, name: str, *, provides: tuple[str, ...] = ()) -> Package:
    version = release.version
    return Package(
        name=name,
        version=version,
        depends=("dkms",),
        provides=provides,
        conflicts=provides,
        files=kernels.module_sources("nvidia", "nvidia", version),
        after=_AFTER.format(name="nvidia", version=version),
    )


def _plain(release: Release, *names: str) -> list[Package]:
    return [Package(name=name, version=release.version) for name in names]


def _ubuntu(release: Release) -> list[Package]:
    version = release.version
    libraries = f"/usr/lib/{release.architecture}-linux-gnu"
    return [
        _modules(release, "nvidia-dkms-open", provides=("nvidia-dkms-kernel",)),
        _modules(release, "nvidia-dkms", provides=("nvidia-dkms-kernel",)),
        _user_space(version, "libnvidia-compute", libraries, needs="libnvidia-gpucomp"),
        _persistence_daemon(version),
        *_plain(release, "nvidia-kernel-source-open", "nvidia-kernel-source", "libnvidia-cfg1"),
        *_plain(release, "nvidia-kernel-common", "nvidia-modprobe", "libnvidia-gpucomp"),
    ]


def _debian(release: Release) -> list[Package]:
    version = release.version
    libraries = f"/usr/lib/{release.architecture}-linux-gnu"
    return [
        _modules(release, "nvidia-kernel-open-dkms", provides=("nvidia-kernel-any",)),
        _modules(release, "nvidia-kernel-dkms", provides=("nvidia-kernel-any",)),
        _user_space(version, "nvidia-driver-cuda", libraries, needs="libcuda1"),
        _persistence_daemon(version),
        *_plain(release, "nvidia-kernel-support", "nvidia-modprobe", "libcuda1"),
    ]


def _rpm(release: Release) -> list[Package]:
    version = release.version
    return [
        _modules(release, "kmod-nvidia-open-dkms", provides=("nvidia-kmod",)),
        _modules(release, "kmod-nvidia-latest-dkms", provides=("nvidia-kmod",)),
        _user_space(version, "nvidia-driver-cuda-libs", "/usr/lib64", needs="libnvidia-ml"),
        _persistence_daemon(version),
        *_plain(release, "nvidia-driver-cuda", "nvidia-driver-libs", "libnvidia-ml"),
        *_plain(release, "libnvidia-cfg", "nvidia-kmod-common", "nvidia-modprobe"),
    ]
