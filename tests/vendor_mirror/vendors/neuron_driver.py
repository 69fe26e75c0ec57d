"""The Neuron driver as AWS's repositories have it.

Files and scripts: github.com/wombelix/aws-neuron-driver at eb6162b3, which unpacks AWS's packages.
"""

from vendor_mirror import kernels
from vendor_mirror.offer import Package, Release

MODULE = "aws-neuronx"
# As AWS's scripts do: they write the rule anew whenever DKMS installs the module.
PRE_INSTALL = """echo 'KERNEL=="neuron*", MODE="0666"' > /lib/udev/rules.d/neuron-udev.rules\n"""
POST_INSTALL = "echo neuron > /etc/modules-load.d/neuron.conf\n"


def packages(release: Release) -> list[Package]:
    """The package of the record; that it needs DKMS is all that it says of kernels."""
    scripts = {"PRE_INSTALL": PRE_INSTALL, "POST_INSTALL": POST_INSTALL}
    return [
        Package(
            name=release.package,
            version=release.version,
            depends=("dkms",),
            conflicts=("aws-neuron-dkms",),
            files=kernels.module_sources(MODULE, "neuron", release.version, scripts),
            after=f"dkms add -m {MODULE} -v {release.version}",
            before_removal=f"dkms remove -m {MODULE} -v {release.version} --all",
        )
    ]


def distribution(release: Release) -> list[Package]:
    """What modules are built with."""
    return kernels.distribution(release)
