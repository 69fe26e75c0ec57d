"""What the source image of a machine image brings, for a container that stands in for it."""

from vendor_mirror.kernels import KERNELS, RPM_KERNELS

_BROUGHT = """
set -eu
apt-get --quiet=2 update
apt-get --quiet=2 install --no-install-recommends libslurm-dev >/dev/null
mkdir -p /opt/slurm/include
ln -s /usr/include/slurm /opt/slurm/include/slurm
{kernels}
"""

_KERNELS = {
    "debian12": "",
    "ubuntu24.04": f"apt-get --quiet=2 install linux-image-{' linux-image-'.join(KERNELS)}",
    "amazon2023": f"dnf --quiet --assumeyes install dnf-automatic {' '.join(RPM_KERNELS)}",
}


def bring(system: str) -> str:
    """Commands that install it: kernels, and on ParallelCluster and HyperPod a Slurm."""
    return _BROUGHT.format(kernels=_KERNELS[system])
