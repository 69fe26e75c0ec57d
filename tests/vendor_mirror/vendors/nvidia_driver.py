"""The driver as NVIDIA's repositories have it, its runfile, and Ubuntu's signed modules.

Names: https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/ (recent updates, Debian,
Amazon Linux, compute-only), and the lists of packages in github.com/awslabs/amazon-eks-ami.
"""

import base64
import shlex

from vendor_mirror import kernels
from vendor_mirror.offer import File, Files, Package, Release, program, text, unit

_LIBRARIES = ("libnvidia-compute", "libnvidia-cfg1")

# As packages do, for the newest kernel only.
_AFTER = """
dkms add -m {name} -v {version}
newest=$(ls /lib/modules | sort -V | tail -n 1)
[ ! -e /lib/modules/$newest/build/Makefile ] || dkms install -m {name} -v {version} -k $newest
"""

# Options: nvidia-installer's, https://github.com/NVIDIA/nvidia-installer/blob/main/option_table.h
_RUNFILE = """#!/bin/sh
set -eu
kernel= modules=yes
for option; do
    case $option in
    --silent | --no-x-check | --no-nouveau-check | --no-backup | --dkms | --skip-module-load) ;;
    --kernel-module-type=open | --kernel-module-type=proprietary) ;;
    --kernel-name=*) kernel=${{option#*=}} ;;
    --no-kernel-modules) modules= ;;
    *) echo "unknown option $option" >&2; exit 1 ;;
    esac
done
unpack() {{ mkdir -p "${{1%/*}}"; base64 -d > "$1"; chmod "$2" "$1"; }}
{unpacked}
[ -n "$modules" ] || exit 0
dkms add -m nvidia -v {version}
dkms install -m nvidia -v {version} -k "$kernel"
"""


def packages(release: Release) -> list[Package]:
    """What a machine without a display needs of the repository."""
    if release.family == "dnf":
        return _rpm(release)
    return _debian(release) if release.platform.startswith("debian") else _ubuntu(release)


def distribution(release: Release) -> list[Package]:
    """What modules are built with; where the record is the distribution's, its own driver."""
    signed = release.platform.startswith("ubuntu") and set(release.record) == {"version", "package"}
    return [*kernels.distribution(release), *(_signed(release) if signed else [])]


def file(release: Release) -> bytes:
    """The runfile: a program that has everything in it."""
    libraries = "/usr/lib64"
    if release.family == "apt":
        libraries = f"/usr/lib/{release.architecture}-linux-gnu"
    files = {
        **_user_space(release.version, libraries),
        "/usr/bin/nvidia-persistenced": program("exit 1"),
        **kernels.module_sources("nvidia", "nvidia", release.version),
    }
    unpacked = "\n".join(_unpacked(path, made) for path, made in files.items())
    return _RUNFILE.format(unpacked=unpacked, version=release.version).encode()


def _unpacked(path: str, made: File) -> str:
    content = base64.encodebytes(made.content).decode()
    return f"unpack {shlex.quote(path)} {made.mode:o} <<'END'\n{content}END"


def _signed(release: Release) -> list[Package]:
    """Modules that Ubuntu built for each of its kernels, and its packages of the rest."""
    version, branch = release.version, release.version.partition(".")[0]
    libraries = f"/usr/lib/{release.architecture}-linux-gnu"
    daemon = {"/usr/lib/systemd/system/nvidia-persistenced.service": unit("nvidia-persistenced")}
    modules = [
        Package(
            name=f"linux-modules-nvidia-{branch}-server-open-{kernel}",
            version="6.8.0",
            files={
                f"/usr/lib/modules/{kernel}/kernel/nvidia-{branch}srv-open/nvidia.ko": (
                    kernels.module_object("nvidia", version)
                )
            },
            after=f"depmod {kernel}",
        )
        for kernel in kernels.KERNELS
    ]
    return [
        *modules,
        Package(name=f"nvidia-compute-utils-{branch}-server", version=version, files=daemon),
        Package(
            name=f"nvidia-utils-{branch}-server",
            version=version,
            files=_user_space(version, libraries),
        ),
        *_plain(release, f"nvidia-kernel-common-{branch}-server"),
        *_plain(release, *(f"{name}-{branch}-server" for name in _LIBRARIES)),
    ]


def _user_space(version: str, folder: str) -> Files:
    """Libraries, by their names only, and the tool that knows the version."""
    libraries = {f"{folder}/lib{name}.so.{version}": text("") for name in ("nvidia-ml", "cuda")}
    return {**libraries, "/usr/bin/nvidia-smi": program(f"echo {version}")}


def _libraries(version: str, name: str, folder: str, *, needs: str) -> Package:
    return Package(
        name=name,
        version=version,
        files=_user_space(version, folder),
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
        _libraries(version, "libnvidia-compute", libraries, needs="libnvidia-gpucomp"),
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
        _libraries(version, "nvidia-driver-cuda", libraries, needs="libcuda1"),
        _persistence_daemon(version),
        *_plain(release, "nvidia-kernel-support", "nvidia-modprobe", "libcuda1"),
    ]


def _rpm(release: Release) -> list[Package]:
    version = release.version
    return [
        _modules(release, "kmod-nvidia-open-dkms", provides=("nvidia-kmod",)),
        _modules(release, "kmod-nvidia-latest-dkms", provides=("nvidia-kmod",)),
        _libraries(version, "nvidia-driver-cuda-libs", "/usr/lib64", needs="libnvidia-ml"),
        _persistence_daemon(version),
        *_plain(release, "nvidia-driver-cuda", "nvidia-driver-libs", "libnvidia-ml"),
        *_plain(release, "libnvidia-cfg", "nvidia-kmod-common", "nvidia-modprobe"),
    ]
