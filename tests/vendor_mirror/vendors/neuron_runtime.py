"""The Neuron runtime library as AWS's repositories have it.

Paths: neuron-runtime/guides/nrt-developer-guide.rst of github.com/aws-neuron/aws-neuron-sdk.
"""

from vendor_mirror.offer import Package, Release, library, link

# The library tells its version as src/libnrt/include/nrt/nrt_version.h describes it.
SOURCE = """
#include <stdint.h>
#include <stddef.h>
struct version { uint64_t part[4]; char detail[128]; char hash[64]; };
int nrt_get_version(struct version *version, size_t size) {
    static const uint64_t parts[4] = {%s};
    if (size < sizeof *version) return 2;
    for (int i = 0; i < 4; i++) version->part[i] = parts[i];
    return 0;
}
"""


def packages(release: Release) -> list[Package]:
    """The package of the record."""
    source = SOURCE % ", ".join(release.version.split("."))
    files = {
        "/opt/aws/neuron/lib/libnrt.so.1": library(source, "-Wl,-soname,libnrt.so.1"),
        "/opt/aws/neuron/lib/libnrt.so": link("libnrt.so.1"),
    }
    return [Package(name=release.package, version=release.version, files=files)]


def distribution(_release: Release) -> list[Package]:
    """What keeps versions on the dnf family."""
    return [Package(name="python3-dnf-plugin-versionlock", version="4")]
