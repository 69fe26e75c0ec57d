"""Whether Neuron's packages are really here: AWS's, and not their placeholders.

AWS publishes torch-neuronx, neuronx-cc and neuronx-distributed in an index of its own. Packages of
the same names in the public index are placeholders of a few kilobytes, which pip installs without
complaint where AWS's index is not configured. `python framework.py` ends with status 2 and says
what is wrong; the image's build runs it, so that no image is made of placeholders.
"""

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from training.records import WRONG_INPUT, Stop

PACKAGES = ("torch-neuronx", "neuronx-cc", "libneuronxla", "neuronx-distributed")
PLACEHOLDER_BYTES = 100_000
DEVICES = Path("/dev")
INDEX = "AWS's package index of Neuron (role pytorch_neuron, stack neuron)"

Find = Callable[[str], metadata.Distribution]


def demand_packages(find: Find = metadata.distribution) -> dict[str, str]:
    """Return the versions of Neuron's packages.

    Args:
        find: Gives a distribution by its name, or raises PackageNotFoundError.

    Raises:
        Stop: Some are missing, or placeholders.
    """
    versions, missing, placeholders = {}, [], []
    for name in PACKAGES:
        try:
            found = find(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        versions[name] = found.version
        if _size(found) < PLACEHOLDER_BYTES:
            placeholders.append(f"{name} {found.version}")
    if placeholders:
        told = f"placeholders of the public index are installed: {', '.join(placeholders)}"
        raise Stop(WRONG_INPUT, f"{told}; install them from {INDEX}")
    if missing:
        told = f"this test case trains on Trainium alone, and needs {', '.join(missing)}"
        raise Stop(WRONG_INPUT, f"{told} from {INDEX}; nothing of it runs on CPUs or GPUs")
    return versions


def demand_devices(folder: Path = DEVICES) -> int:
    """Return how many Neuron devices this machine has.

    Raises:
        Stop: It has none.
    """
    found = list(folder.glob("neuron[0-9]*"))
    if not found:
        told = f"there is no Neuron device in {folder}"
        raise Stop(WRONG_INPUT, f"{told}: start on a trn1 or trn2 instance, and give them to it")
    return len(found)


def _size(distribution: metadata.Distribution) -> int:
    files = distribution.files or []
    return sum(file.size or 0 for file in files)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{demand_packages()}\n")
    except Stop as stop:
        sys.stderr.write(f"{stop.message}\n")
        sys.exit(stop.status)
