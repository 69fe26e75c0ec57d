"""What differs between two AMIs, from their tags and what EC2 says of them."""

from bakehouse.machines import ami_tags
from bakehouse.machines.ami import Ami, Device
from bakehouse.report.difference import Change, changes

_BUILD = {
    "image": ami_tags.IMAGE,
    "build": ami_tags.BUILD,
    "stack": ami_tags.STACK,
    "commit": ami_tags.COMMIT,
    "source AMI": ami_tags.SOURCE_AMI,
    "distribution": ami_tags.DISTRIBUTION,
    "checks": ami_tags.CHECKS,
}


def difference(before: Ami, after: Ami) -> dict[str, dict[str, Change]]:
    """Per part, the names that differ with both values; None where one side has none."""
    parts = {
        "components": (ami_tags.components(before.tags), ami_tags.components(after.tags)),
        "build": (_build(before), _build(after)),
        "size": ({"GiB": str(before.size_gib)}, {"GiB": str(after.size_gib)}),
        "block devices": (_devices(before), _devices(after)),
        "machine": (dict(before.machine), dict(after.machine)),
    }
    found = {part: changes(*sides) for part, sides in parts.items()}
    return {part: differing for part, differing in found.items() if differing}


def _build(ami: Ami) -> dict[str, str]:
    return {name: ami.tags[tag] for name, tag in _BUILD.items() if tag in ami.tags}


def _devices(ami: Ami) -> dict[str, str]:
    """`/dev/sda1: type`; the snapshots differ between any two AMIs and say nothing."""
    return {
        f"{device.name}: {name}": value
        for device in ami.devices
        for name, value in _properties(device).items()
    }


def _properties(device: Device) -> dict[str, str]:
    numbers = {"iops": device.iops, "throughput": device.throughput, "GiB": device.size_gib}
    return {
        "type": device.type,
        "encrypted": "yes" if device.encrypted else "no",
        **{name: str(value) for name, value in numbers.items() if value is not None},
    }
