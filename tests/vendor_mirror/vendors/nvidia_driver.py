"""The driver as NVIDIA's repositories have it; two kernels and a DKMS that takes no time to build.

Names: https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/ (recent updates, Debian,
Amazon Linux, compute-only), and the lists of packages in github.com/awslabs/amazon-eks-ami.
"""

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from vendor_mirror.offer import File, Files, Package, Release, link, program, text

KERNELS = ("6.8.0-1001-aws", "6.8.0-1002-aws")
RPM_KERNELS = {"kernel": "6.1.140", "kernel6.12": "6.12.30"}

_KERNEL_OBJECT = """
#define STATED(name, text) \\
    static const char name[] __attribute__((section(".modinfo"), used)) = text
STATED(name, "name=%s"); STATED(version, "version=%s"); STATED(license, "license=none");
"""

_UNIT = """[Unit]
Description=stands in for %s

[Service]
ExecStart=/bin/sleep infinity

[Install]
WantedBy=multi-user.target
"""

# As DKMS 3, of which it knows what roles and packages ask: what is "built" lies in the sources.
# Unlike the real one it forgets the files of another version that it replaces.
_DKMS = """
command=$1; shift; module='*'; version='*'; kernel=
while [ $# -gt 0 ]; do
    case $1 in -m) module=$2; shift ;; -v) version=$2; shift ;; -k) kernel=$2; shift ;; esac
    shift
done
state=/var/lib/dkms; own=$state/$module/$version
case $command in
add) mkdir -p "$own" ;;
status)
    for tree in $state/$module/$version; do
        [ -d "$tree" ] || continue
        shown=${tree#"$state"/}
        [ -n "$(ls "$tree")" ] || echo "$shown: added"
        for built in "$tree"/*; do
            [ ! -e "$built" ] || echo "$shown, ${built##*/}, $(uname -m): installed"
        done
    done ;;
install)
    [ -e "/lib/modules/$kernel/build/Makefile" ] || { echo "no headers of $kernel" >&2; exit 1; }
    mkdir -p "$own" "/lib/modules/$kernel/updates/dkms"
    rm -f $state/$module/*/"$kernel"
    cp /usr/src/$module-$version/*.ko "/lib/modules/$kernel/updates/dkms/"
    touch "$own/$kernel"; depmod "$kernel" ;;
remove)
    for built in "$own"/*; do
        [ ! -e "$built" ] || rm -f "/lib/modules/${built##*/}/updates/dkms/${module%%-*}.ko"
    done
    rm -r "$own" ;;
esac
"""

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
    """Two kernels with their headers, and DKMS."""
    # Packages with scripts need a shell, which rpm of the stand-in does not know of.
    shell = ("/bin/sh",) if release.family == "dnf" else ()
    files = {"/usr/sbin/dkms": program(_DKMS)}
    tool = Package(name="dkms", version="99", provides=shell, files=files)
    if release.family == "dnf":
        lock = Package(name="python3-dnf-plugin-versionlock", version="4.3.1")
        kernels = [
            package
            for name, version in RPM_KERNELS.items()
            for package in kernel(name, f"{name}-devel", version, f"{version}-1.fixture.noarch")
        ]
        return [tool, lock, *kernels]
    named = [kernel(f"linux-image-{k}", f"linux-headers-{k}", "6.8.0", k) for k in KERNELS]
    return [tool, *(package for pair in named for package in pair)]


def kernel(image: str, headers: str, version: str, kernel_release: str) -> tuple[Package, Package]:
    """A kernel without a kernel, and its headers."""
    modules, sources = f"/usr/lib/modules/{kernel_release}", f"/usr/src/{kernel_release}"
    lists = {f"{modules}/modules.{kind}": text("") for kind in ("builtin", "order")}
    built = {f"{sources}/Makefile": text("all:\n"), f"{modules}/build": link(sources)}
    return (
        Package(name=image, version=version, files=lists),
        Package(name=headers, version=version, files=built),
    )


def module_sources(name: str, module: str, version: str) -> Files:
    """Sources that DKMS knows, with what it is to build already built."""
    place = f"/usr/src/{name}-{version}"
    stated = (
        f'PACKAGE_NAME="{name}"\nPACKAGE_VERSION="{version}"\nBUILT_MODULE_NAME[0]="{module}"\n'
    )
    return {
        f"{place}/dkms.conf": text(stated),
        f"{place}/{module}.ko": kernel_object(module, version),
    }


@cache
def kernel_object(name: str, version: str) -> File:
    """An object file that tells name and version to modinfo."""
    with tempfile.TemporaryDirectory() as folder:
        code, made = Path(folder, "module.c"), Path(folder, "module.ko")
        code.write_text(_KERNEL_OBJECT % (name, version), encoding="utf-8")
        subprocess.run(["gcc", "-c", "-o", str(made), str(code)], check=True, capture_output=True)
        return File(content=made.read_bytes())


def user_space(version: str, folder: str) -> Files:
    """Libraries, by their names only, and the tool that knows the version."""
    files = {f"{folder}/lib{name}.so.{version}": text("") for name in ("nvidia-ml", "cuda")}
    return files | {"/usr/bin/nvidia-smi": program(f"echo {version}")}


def unit(name: str) -> Files:
    """A service that does nothing."""
    return {f"/usr/lib/systemd/system/{name}.service": text(_UNIT % name)}


def _modules(release: Release, name: str, *, provides: tuple[str, ...] = ()) -> Package:
    version = release.version
    return Package(
        name=name,
        version=version,
        depends=("dkms",),
        provides=provides,
        conflicts=provides,
        files=module_sources("nvidia", "nvidia", version),
        after=_AFTER.format(name="nvidia", version=version),
    )


def _plain(release: Release, *names: str) -> list[Package]:
    return [Package(name=name, version=release.version) for name in names]


def _ubuntu(release: Release) -> list[Package]:
    version, exactly = release.version, f"(= {release.version}-1+fixture)"
    libraries = user_space(version, f"/usr/lib/{release.architecture}-linux-gnu")
    return [
        _modules(release, "nvidia-dkms-open", provides=("nvidia-dkms-kernel",)),
        _modules(release, "nvidia-dkms", provides=("nvidia-dkms-kernel",)),
        Package(
            name="libnvidia-compute",
            version=version,
            files=libraries,
            depends=(f"libnvidia-gpucomp {exactly}",),
        ),
        Package(name="nvidia-persistenced", version=version, files=unit("nvidia-persistenced")),
        *_plain(release, "nvidia-kernel-source-open", "nvidia-kernel-source", "libnvidia-cfg1"),
        *_plain(release, "nvidia-kernel-common", "nvidia-modprobe", "libnvidia-gpucomp"),
    ]


def _debian(release: Release) -> list[Package]:
    version, exactly = release.version, f"(= {release.version}-1+fixture)"
    libraries = user_space(version, f"/usr/lib/{release.architecture}-linux-gnu")
    return [
        _modules(release, "nvidia-kernel-open-dkms", provides=("nvidia-kernel-any",)),
        _modules(release, "nvidia-kernel-dkms", provides=("nvidia-kernel-any",)),
        Package(
            name="nvidia-driver-cuda",
            version=version,
            files=libraries,
            depends=(f"libcuda1 {exactly}",),
        ),
        Package(name="nvidia-persistenced", version=version, files=unit("nvidia-persistenced")),
        *_plain(release, "nvidia-kernel-support", "nvidia-modprobe", "libcuda1"),
    ]


def _rpm(release: Release) -> list[Package]:
    version, exactly = release.version, f"(= {release.version}-1+fixture)"
    return [
        _modules(release, "kmod-nvidia-open-dkms", provides=("nvidia-kmod",)),
        _modules(release, "kmod-nvidia-latest-dkms", provides=("nvidia-kmod",)),
        Package(
            name="nvidia-driver-cuda-libs",
            version=version,
            files=user_space(version, "/usr/lib64"),
            depends=(f"libnvidia-ml {exactly}",),
        ),
        Package(name="nvidia-persistenced", version=version, files=unit("nvidia-persistenced")),
        *_plain(release, "nvidia-driver-cuda", "nvidia-driver-libs", "libnvidia-ml"),
        *_plain(release, "libnvidia-cfg", "nvidia-kmod-common", "nvidia-modprobe"),
    ]
