"""cuDNN as NVIDIA's repositories have it: docs.nvidia.com/deeplearning/cudnn/installation."""

from vendor_mirror.offer import Package, Release, library, link

SOURCE = "unsigned long cudnnGetVersion(void) {{ return {code}; }}\n"


def packages(release: Release) -> list[Package]:
    """The library for one release of CUDA."""
    major, minor, patch, _ = (int(number) for number in release.version.split("."))
    code = major * 10000 + minor * 100 + patch
    soname = f"libcudnn.so.{major}"
    apt = release.family == "apt"
    folder = f"/usr/lib/{release.architecture}-linux-gnu" if apt else "/usr/lib64"
    real = f"libcudnn.so.{major}.{minor}.{patch}"
    files = {
        f"{folder}/{real}": library(SOURCE.format(code=code), f"-Wl,-soname,{soname}"),
        f"{folder}/{soname}": link(real),
    }
    return [Package(name=release.package, version=release.version, files=files, after="ldconfig")]
