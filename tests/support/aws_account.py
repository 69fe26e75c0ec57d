"""An AWS account of tests, in moto, with AMIs as a bake leaves them and as others leave theirs."""

import contextlib
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from botocore.loaders import create_loader
from moto import mock_aws
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.amis import Ami as MotoAmi
from moto.ec2.responses import EC2Response

from bakehouse.machines import ami_tags

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

# The description of EC2's API takes half a second to parse, and each session would do it anew.
LOADER = functools.cache(create_loader)

HERE, THERE = "eu-central-1", "us-east-1"


@dataclass(frozen=True)
class Account:
    """The account; regions are told apart by name."""

    def client(self, region: str = HERE) -> "EC2Client":
        """To do what a user does without Bakehouse."""
        return _client(region)

    def moto(self, region: str = HERE) -> Any:
        """What moto keeps of a region."""
        return get_backend("ec2")[DEFAULT_ACCOUNT_ID][region]

    def foreign(self, name: str = "somebody's", region: str = HERE, days: float = 400) -> str:
        """An AMI of the account that Bakehouse did not make."""
        ami = self.client(region).register_image(Name=name)["ImageId"]
        self.moto(region).amis[ami].creation_date = datetime.now(UTC) - timedelta(days=days)
        return ami

    def bake(self, region: str = HERE, days: float = 100, **tags: str) -> str:
        """An AMI of ours, so many days old; its tags and its snapshots' as the contract says.

        Keywords are tags by the name of their constant: `CHECKS="failed"`; empty leaves one out.
        """
        ami = self.foreign(f"bake of {days} days ago", region, days)
        created = datetime.now(UTC) - timedelta(days=days)
        values = {
            "IMAGE": "pcluster-gpu",
            "BUILD": f"build-{days}",
            "STACK": f"gpu-cuda13@sha256:{'5a' * 32}",
            "COMMIT": "c0ffee",
            "SOURCE_AMI": "ami-00000000",
            "CREATED": created.isoformat(timespec="seconds"),
            "DISTRIBUTION": "ubuntu-24.04",
            "ARCHITECTURE": "x86_64",
            "CHECKS": "passed",
            **tags,
        }
        self.tag([ami, *self.snapshots(ami, region)], region, **values)
        return ami

    def tag(self, resources: list[str], region: str = HERE, **values: str) -> None:
        """Set tags by the name of their constant."""
        written = [
            {"Key": getattr(ami_tags, name), "Value": value}
            for name, value in values.items()
            if value
        ]
        self.client(region).create_tags(Resources=resources, Tags=written)  # type: ignore[arg-type]

    def tags(self, resource: str, region: str = HERE) -> dict[str, str]:
        """Tags of an AMI or snapshot."""
        filters: Any = [{"Name": "resource-id", "Values": [resource]}]
        found = self.client(region).describe_tags(Filters=filters)["Tags"]
        return {each["Key"]: each["Value"] for each in found}

    def channel(self, ami: str, region: str = HERE) -> str | None:
        """The channel of an AMI."""
        return self.tags(ami, region).get(ami_tags.CHANNEL)

    def snapshots(self, ami: str, region: str = HERE) -> list[str]:
        """Those that an AMI names."""
        found = self.moto(region).amis[ami].block_device_mappings
        return [each["Ebs"]["SnapshotId"] for each in found]

    def launchers(self, ami: str, region: str = HERE) -> list[str]:
        """Accounts that may launch an AMI."""
        client = self.client(region)
        found = client.describe_image_attribute(ImageId=ami, Attribute="launchPermission")
        return sorted(each["UserId"] for each in found["LaunchPermissions"])

    def copiers(self, snapshot: str, region: str = HERE) -> list[str]:
        """Accounts that may make volumes of a snapshot."""
        found = self.client(region).describe_snapshot_attribute(
            SnapshotId=snapshot, Attribute="createVolumePermission"
        )
        return sorted(each["UserId"] for each in found["CreateVolumePermissions"])

    def exists(self, resource: str, region: str = HERE) -> bool:
        """Whether an AMI or snapshot is there."""
        kept = self.moto(region)
        return resource in kept.amis or resource in kept.snapshots

    def everything(self) -> dict[str, Any]:
        """All that commands could change, in both regions."""
        return {region: self._everything(region) for region in (HERE, THERE)}

    def _everything(self, region: str) -> dict[str, Any]:
        client = self.client(region)
        amis = client.describe_images(Owners=["self"])["Images"]
        snapshots = client.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        return {
            "amis": amis,
            "snapshots": snapshots,
            "launchers": {
                each["ImageId"]: self.launchers(each["ImageId"], region) for each in amis
            },
            "copiers": {
                each["SnapshotId"]: self.copiers(each["SnapshotId"], region) for each in snapshots
            },
        }


@functools.cache
def _client(region: str) -> "EC2Client":
    """A client has a method for each of 800 actions: it takes as long as a test."""
    return boto3.client("ec2", region_name=region)


@contextlib.contextmanager
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An empty account; nothing of this machine's own AWS configuration reaches it."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    monkeypatch.setattr(botocore.session, "create_loader", LOADER)
    _complete(monkeypatch)
    with mock_aws():
        yield Account()


def refuse(monkeypatch: pytest.MonkeyPatch, action: str, code: str, after: int = 0) -> None:
    """Have EC2 answer an action (`create_tags`) with an error, after so many that it takes."""
    taken = getattr(EC2Response, action)
    calls = itertools.count()

    def refused(response: EC2Response) -> Any:
        if next(calls) < after:
            return taken(response)
        raise EC2ClientError(code, "as the test wants it")

    monkeypatch.setattr(EC2Response, action, refused)


def _complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """What moto 5.2 lacks: deprecation, and AMIs with other block devices than its one."""

    def enable_image_deprecation(response: EC2Response) -> ActionResult:
        parameters = response.params
        ami = response.ec2_backend.amis[parameters["ImageId"]]
        ami.deprecation_time = parameters["DeprecateAt"].isoformat()
        return ActionResult({"Return": True})

    plain = MotoAmi.block_device_mappings.fget  # type: ignore[attr-defined]
    devices = property(lambda ami: getattr(ami, "devices", None) or plain(ami))
    monkeypatch.setattr(
        EC2Response, "enable_image_deprecation", enable_image_deprecation, raising=False
    )
    monkeypatch.setattr(MotoAmi, "block_device_mappings", devices)
