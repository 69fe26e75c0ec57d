"""NCCL as NVIDIA's repositories have it: library, and headers that need exactly that library.

Names of packages: docs.nvidia.com/deeplearning/nccl/install-guide.
"""

from vendor_mirror.offer import File, Package, Release, library, link, text

SOURCE = """
int ncclGetVersion(int *version) {{ *version = {code}; return 0; }}
"""
HEADER = """#define NCCL_MAJOR {}
#define NCCL_MINOR {}
#define NCCL_PATCH {}
"""


def nccl(version: str) -> File:
    """The library, which tells its version."""
    major, minor, patch = (int(number) for number in version.split("."))
    code = major * 10000 + minor * 100 + patch
    return library(SOURCE.format(code=code), "-Wl,-soname,libnccl.so.2")


def packages(release: Release) -> list[Package]:
    """The library and what is needed to compile for it."""
    numbers = release.version.split(".")
    apt = release.family == "apt"
    folder = f"/usr/lib/{release.architecture}-linux-gnu" if apt else "/usr/lib64"
    name, development = ("libnccl2", "libnccl-dev") if apt else ("libnccl", "libnccl-devel")
    made = nccl(release.version)
    return [
        Package(
            name=name,
            version=release.version,
            files={
                f"{folder}/libnccl.so.{release.version}": made,
                f"{folder}/libnccl.so.2": link(f"libnccl.so.{release.version}"),
            },
            after="ldconfig",
            # Of two versions in a transaction the loader's link is to the newer one.
            after_removal="ldconfig",
        ),
        Package(
            name=development,
            version=release.version,
            depends=(f"{name} (= {release.version}-1+fixture)",),
            files={
                f"{folder}/libnccl.so": link("libnccl.so.2"),
                "/usr/include/nccl.h": text(HEADER.format(*numbers)),
            },
        ),
    ]
