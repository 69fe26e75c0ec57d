"""The wheels of AWS Neuron in AWS's index, and what they need in the usual one.

Names of modules and programs are those of the real wheels; what they do is not.
"""

from collections.abc import Iterator

from vendor_mirror.offer import Release
from vendor_mirror.wheels import Wheel

NEURON = {"torch-neuronx", "neuronx-distributed", "neuronx-cc", "libneuronxla", "nki"}

COMPILER = "def main():\n    print('NeuronX Compiler version {version}')\n"


def wheels(release: Release) -> Iterator[Wheel]:
    """One wheel for each requirement of the record."""
    for requirement in release.record["requirements"]:
        name, version = requirement["name"], requirement["version"]
        compiler = name == "neuronx-cc"
        yield Wheel(
            name=name,
            version=version,
            vendors=name in NEURON,
            modules={"neuronxcc/__init__.py": COMPILER.format(version=version)} if compiler else {},
            scripts=("neuronx-cc = neuronxcc:main",) if compiler else (),
        )
