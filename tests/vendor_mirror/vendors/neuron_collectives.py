"""Neuron's collectives as AWS's repositories have them.

What they depend on is the distribution's hwloc and libatomic; it is left out here.
"""

from vendor_mirror.offer import Package, Release, library, link


def packages(release: Release) -> list[Package]:
    """The package of the record."""
    files = {
        "/opt/aws/neuron/lib/libnccom.so.2": library("int stands_in;", "-Wl,-soname,libnccom.so.2"),
        "/opt/aws/neuron/lib/libnccom.so": link("libnccom.so.2"),
    }
    return [Package(name=release.package, version=release.version, files=files)]
