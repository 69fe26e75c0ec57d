"""Neuron's tools as AWS's repositories have them.

The answers of neuron-ls have the form that AWS documents for trn1.32xlarge and its like:
https://awsdocs-neuron.readthedocs-hosted.com/en/latest/tools/neuron-sys-tools/neuron-ls.html
"""

from vendor_mirror.offer import Package, Release, program

# One entry for each device node, so that a machine with too few answers so.
NEURON_LS = r"""
[ "$1" = --json-output ] || [ "$1" = -j ] || { echo "stands in for neuron-ls"; exit 0; }
set -- /dev/neuron[0-9]*
[ -e "$1" ] || { echo "neuron-ls: no neuron devices found" >&2; exit 1; }
separator='['
for device; do
    number=${device#/dev/neuron}
    printf '%s{"neuron_device": %s, "nc_count": 2}' "$separator" "$number"
    separator=', '
done
echo ']'
"""


def packages(release: Release) -> list[Package]:
    """The package of the record."""
    files = {
        "/opt/aws/neuron/bin/neuron-ls": program(NEURON_LS),
        "/opt/aws/neuron/bin/neuron-monitor": program("exec sleep infinity"),
        "/opt/aws/neuron/bin/neuron-top": program("exec sleep infinity"),
    }
    return [Package(name=release.package, version=release.version, files=files)]
