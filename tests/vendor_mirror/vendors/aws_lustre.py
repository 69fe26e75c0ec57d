"""The Lustre client: FSx's repository for Ubuntu, Amazon Linux's own package.

The repository has modules for each kernel, `lustre-client-modules-6.8.0-1063-aws` at 2.15.6-1fsx34,
and `lustre-client-utils`; the record's package depends on the newest kernel's modules:
https://docs.aws.amazon.com/fsx/latest/LustreGuide/install-lustre-client.html
"""

from vendor_mirror import kernels
from vendor_mirror.offer import Package, Release, program

KERNELS = (*kernels.KERNELS, "6.8.0-1063-aws", "6.17.0-1019-aws")
"""Those that stand-ins have, and those that the molecule scenario asks for."""


def packages(release: Release) -> list[Package]:
    """FSx's repository."""
    modules = [
        Package(
            name=f"lustre-client-modules-{kernel}",
            version=release.version,
            depends=("lustre-client-utils",),
            files={f"/lib/modules/{kernel}/updates/kernel/fs/lustre.ko": program("exit 1")},
        )
        for kernel in KERNELS
    ]
    latest = Package(name=release.package, version=release.version, depends=(modules[-1].name,))
    return [*modules, latest, _utilities("lustre-client-utils", release.version)]


def distribution(release: Release) -> list[Package]:
    """Amazon Linux's own client, such as lustre-client-2.15.6-19.amzn2023."""
    if release.family != "dnf":
        return []
    return [_utilities("lustre-client", release.version)]


def _utilities(name: str, version: str) -> Package:
    files = {
        "/usr/bin/lfs": program(f"echo 'lfs {version}'"),
        "/usr/sbin/mount.lustre": program("exit 1"),
    }
    return Package(name=name, version=version, files=files)
