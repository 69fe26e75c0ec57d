"""An AMI as EC2 describes it and as its tags name it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bakehouse.errors import InputError
from bakehouse.machines import ami_tags

ID = re.compile(r"ami-[0-9a-f]{8}(?:[0-9a-f]{9})?")


@dataclass(frozen=True, kw_only=True)
class Device:
    """One volume that an instance of the AMI starts with.

    Attributes:
        name: `/dev/sda1`.
        snapshot: Id; empty for an empty volume.
        size_gib: Size.
        type: `gp3`, `io2`, …
        iops: Provisioned; None where the type has none.
        throughput: MiB/s; None where the type has none.
        encrypted: Whether it is.
    """

    name: str
    snapshot: str
    size_gib: int
    type: str
    iops: int | None
    throughput: int | None
    encrypted: bool


@dataclass(frozen=True, kw_only=True)
class Ami:
    """One of our account's AMIs, in one region.

    Attributes:
        id: `ami-…`.
        region: Where it is.
        name: As registered.
        state: EC2's word: available, pending, failed, disabled, …
        registered: When EC2 made it, which of a copy is later than the bake.
        deprecated_from: When EC2 hides it from others; None if never.
        protected: Whether EC2 refuses to deregister it.
        devices: Volumes, as registered.
        machine: What EC2 says of the machine: architecture, boot mode, IMDS, ENA, TPM.
        tags: All of them.
    """

    id: str
    region: str
    name: str
    state: str
    registered: datetime
    deprecated_from: datetime | None
    protected: bool
    devices: tuple[Device, ...]
    machine: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def image(self) -> str:
        """Name in images.yml; empty if it is not ours."""
        return self.tags.get(ami_tags.IMAGE, "")

    @property
    def build(self) -> str:
        """Build id."""
        return self.tags.get(ami_tags.BUILD, "")

    @property
    def stack(self) -> str:
        """`gpu-cuda13@sha256:…`."""
        return self.tags.get(ami_tags.STACK, "")

    @property
    def distribution(self) -> str:
        """`ubuntu-24.04`."""
        return self.tags.get(ami_tags.DISTRIBUTION, "")

    @property
    def architecture(self) -> str:
        """`x86_64` or `arm64`."""
        return self.tags.get(ami_tags.ARCHITECTURE) or self.machine.get("architecture", "")

    @property
    def kind(self) -> tuple[str, str, str]:
        """Image, distribution, architecture: AMIs of one kind replace each other."""
        return self.image, self.distribution, self.architecture

    @property
    def channel(self) -> str:
        """Channel that it was promoted to; empty if none."""
        return self.tags.get(ami_tags.CHANNEL, "")

    @property
    def checks(self) -> str:
        """How its checks ended; empty if nobody says."""
        return self.tags.get(ami_tags.CHECKS, "")

    @property
    def created(self) -> datetime:
        """When it was baked; where no tag says so, when it was registered."""
        return ami_tags.created(self.tags) or self.registered

    @property
    def snapshots(self) -> tuple[str, ...]:
        """Ids of the snapshots that it needs, each once."""
        return tuple(dict.fromkeys(each.snapshot for each in self.devices if each.snapshot))

    @property
    def size_gib(self) -> int:
        """Sum of its volumes."""
        return sum(each.size_gib for each in self.devices)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        deprecated = self.deprecated_from
        return {
            "ami": self.id,
            "region": self.region,
            "name": self.name,
            "image": self.image,
            "build": self.build,
            "stack": self.stack,
            "commit": self.tags.get(ami_tags.COMMIT, ""),
            "source_ami": self.tags.get(ami_tags.SOURCE_AMI, ""),
            "distribution": self.distribution,
            "architecture": self.architecture,
            "created": self.created.isoformat(),
            "checks": self.checks,
            "channel": self.channel,
            "state": self.state,
            "deprecated_from": deprecated.isoformat() if deprecated else None,
            "size_gib": self.size_gib,
            "snapshots": list(self.snapshots),
            "components": ami_tags.components(self.tags),
        }

    def __str__(self) -> str:
        return f"{self.id} ({self.name})" if self.name else self.id


def described(found: Mapping[str, Any], region: str) -> Ami:
    """An AMI of EC2's DescribeImages."""
    deprecated = found.get("DeprecationTime")
    return Ami(
        id=found["ImageId"],
        region=region,
        name=found.get("Name", ""),
        state=found.get("State", ""),
        registered=_moment(found["CreationDate"]),
        deprecated_from=_moment(deprecated) if deprecated else None,
        # Whatever it says but this may still protect, such as a cooldown.
        protected=found.get("DeregistrationProtection", "disabled") != "disabled",
        devices=tuple(_devices(found.get("BlockDeviceMappings", []))),
        machine=_machine(found),
        tags={tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
    )


def check_id(text: str) -> str:
    """The text, which is an AMI's id.

    Raises:
        InputError: It is none.
    """
    if not ID.fullmatch(text):
        remedy = "an id is ami- and 8 or 17 hexadecimal digits; see `bakehouse ami list`"
        raise InputError("this is not the id of an AMI", where=text, remedy=remedy)
    return text


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _devices(mappings: list[Mapping[str, Any]]) -> list[Device]:
    """Volumes only: instance stores have no `Ebs`."""
    return [
        Device(
            name=each.get("DeviceName", ""),
            snapshot=each["Ebs"].get("SnapshotId", ""),
            size_gib=each["Ebs"].get("VolumeSize", 0),
            type=each["Ebs"].get("VolumeType", ""),
            iops=each["Ebs"].get("Iops"),
            throughput=each["Ebs"].get("Throughput"),
            encrypted=each["Ebs"].get("Encrypted", False),
        )
        for each in mappings
        if "Ebs" in each
    ]


def _machine(found: Mapping[str, Any]) -> dict[str, str]:
    """What EC2 says of the machine; what it leaves out is what it then assumes."""
    return {
        "architecture": found.get("Architecture", ""),
        "boot mode": found.get("BootMode", "as the instance type"),
        "IMDS": "v2 only" if found.get("ImdsSupport") == "v2.0" else "v1 and v2",
        "ENA": "yes" if found.get("EnaSupport") else "no",
        "TPM": found.get("TpmSupport", "none"),
        "root device": found.get("RootDeviceName", ""),
    }
