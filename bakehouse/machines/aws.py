"""AWS's API: the only module that imports boto3, and where its errors become ours.

boto3 takes a third of a second to load: the command line imports this only where AWS is asked.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound
from botocore.session import get_session

from bakehouse.errors import BakehouseError, HostError, InputError
from bakehouse.machines import ami_tags
from bakehouse.machines.ami import Ami, described
from bakehouse.machines.ami_source import Source
from bakehouse.stacks.validation import suggestion

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_DENIED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}
_REFUSED = {
    "AuthFailure",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "OptInRequired",
}
_LOG_IN = "log in again: aws sso login, or whatever gave you the credentials"
_PAGE = 200
"""Entries a page: what DescribeLaunchTemplates gives at most."""


class Region:
    """Our AMIs in one region, and what may be done to them.

    Every method raises HostError if AWS cannot be asked or refuses.

    Attributes:
        name: `eu-central-1`.
    """

    def __init__(self, name: str, session: boto3.Session) -> None:
        self.name = name
        self._session = session
        self._ec2: EC2Client = self._client("ec2")

    def amis(self) -> list[Ami]:
        """All of the account's own, ours or not, disabled ones too; the newest first."""
        with self._told("ec2"):
            pages = self._ec2.get_paginator("describe_images").paginate(
                Owners=["self"], IncludeDisabled=True, PaginationConfig={"PageSize": 1000}
            )
            found = [described(each, self.name) for page in pages for each in page["Images"]]
        return sorted(found, key=lambda ami: (ami.created, ami.id), reverse=True)

    def source(self, ami: str) -> Source | None:
        """An AMI of anybody's by its id."""
        found = self._sources(Filters=[{"Name": "image-id", "Values": [ami]}])
        return found[0] if found else None

    def newest(self, owner: str, name: str, architecture: str) -> Source | None:
        """The newest AMI of an owner whose name fits a filter."""
        filters = {"name": name, "architecture": architecture, "state": "available"}
        found = self._sources(
            Owners=[owner], Filters=[{"Name": n, "Values": [v]} for n, v in filters.items()]
        )
        return found[0] if found else None

    def parameter(self, name: str) -> str:
        """Value of a public parameter of Systems Manager."""
        client = self._client("ssm")
        with self._told("ssm"):
            return str(client.get_parameter(Name=name)["Parameter"]["Value"])

    def _sources(self, **asked: Any) -> list[Source]:
        """AMIs of others, the newest first."""
        with self._told("ec2"):
            pages = self._ec2.get_paginator("describe_images").paginate(
                **asked, PaginationConfig={"PageSize": 1000}
            )
            found = [each for page in pages for each in page["Images"]]
        found.sort(key=lambda each: each.get("CreationDate", ""), reverse=True)
        return [
            Source(
                id=each["ImageId"],
                name=each.get("Name", ""),
                architecture=each.get("Architecture", ""),
            )
            for each in found
        ]

    def tagged_snapshots(self) -> set[str]:
        """Ids of the account's own snapshots that carry our tag."""
        with self._told("ec2"):
            pages = self._ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"], Filters=[{"Name": "tag-key", "Values": [ami_tags.IMAGE]}]
            )
            return {each["SnapshotId"] for page in pages for each in page["Snapshots"]}

    def users(self) -> dict[str, list[str]]:
        """Who needs an AMI, by its id: instances, launch templates, launch configurations."""
        users: dict[str, list[str]] = {}
        for ami, user in (*self._instances(), *self._templates(), *self._configurations()):
            users.setdefault(ami, []).append(user)
        return users

    def launch_accounts(self, ami: str) -> set[str]:
        """Accounts that may launch an AMI."""
        with self._told("ec2"):
            found = self._ec2.describe_image_attribute(ImageId=ami, Attribute="launchPermission")
        return {each["UserId"] for each in found["LaunchPermissions"] if "UserId" in each}

    def volume_accounts(self, snapshot: str) -> set[str]:
        """Accounts that may make volumes from a snapshot."""
        with self._told("ec2"):
            found = self._ec2.describe_snapshot_attribute(
                SnapshotId=snapshot, Attribute="createVolumePermission"
            )
        return {each["UserId"] for each in found["CreateVolumePermissions"] if "UserId" in each}

    def set_tag(self, ami: str, key: str, value: str) -> None:
        """Set one tag."""
        with self._told("ec2"):
            self._ec2.create_tags(Resources=[ami], Tags=[{"Key": key, "Value": value}])

    def remove_tag(self, ami: str, key: str, value: str) -> None:
        """Remove one tag if it has this value."""
        with self._told("ec2"):
            self._ec2.delete_tags(Resources=[ami], Tags=[{"Key": key, "Value": value}])

    def share(self, ami: str, accounts: Sequence[str]) -> None:
        """Let accounts launch an AMI."""
        with self._told("ec2"):
            self._ec2.modify_image_attribute(
                ImageId=ami,
                LaunchPermission={"Add": [{"UserId": account} for account in accounts]},
            )

    def share_snapshot(self, snapshot: str, accounts: Sequence[str]) -> None:
        """Let accounts make volumes from a snapshot, and so copy the AMI."""
        with self._told("ec2"):
            self._ec2.modify_snapshot_attribute(
                SnapshotId=snapshot,
                Attribute="createVolumePermission",
                OperationType="add",
                UserIds=list(accounts),
            )

    def deprecate(self, ami: str, moment: datetime) -> None:
        """Hide an AMI from other accounts from a moment on."""
        with self._told("ec2"):
            self._ec2.enable_image_deprecation(ImageId=ami, DeprecateAt=moment)

    def deregister(self, ami: str) -> None:
        """Remove an AMI; its snapshots stay."""
        with self._told("ec2"):
            self._ec2.deregister_image(ImageId=ami)

    def delete_snapshot(self, snapshot: str) -> None:
        """Delete a snapshot; EC2 refuses where an AMI still needs it."""
        with self._told("ec2"):
            self._ec2.delete_snapshot(SnapshotId=snapshot)

    def _instances(self) -> list[tuple[str, str]]:
        with self._told("ec2"):
            pages = self._ec2.get_paginator("describe_instances").paginate(
                IncludeManagedResources=True, PaginationConfig={"PageSize": 1000}
            )
            found = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
        return [
            (each["ImageId"], f"instance {each['InstanceId']} ({each['State']['Name']})")
            for each in found
            if each["State"]["Name"] != "terminated"
        ]

    def _templates(self) -> list[tuple[str, str]]:
        """Every version of every launch template, not only the default one."""
        with self._told("ec2"):
            pages = self._ec2.get_paginator("describe_launch_templates").paginate(
                IncludeManagedResources=True, PaginationConfig={"PageSize": _PAGE}
            )
            templates = [
                each["LaunchTemplateId"] for page in pages for each in page["LaunchTemplates"]
            ]
            versions: list[Any] = []
            for template in templates:
                # An id that stands in a Systems Manager parameter is a use as well.
                found = self._ec2.get_paginator("describe_launch_template_versions").paginate(
                    LaunchTemplateId=template,
                    ResolveAlias=True,
                    IncludeManagedResources=True,
                    PaginationConfig={"PageSize": _PAGE},
                )
                versions += [each for page in found for each in page["LaunchTemplateVersions"]]
        return [
            (
                each["LaunchTemplateData"]["ImageId"],
                f"launch template {each['LaunchTemplateName']}, version {each['VersionNumber']}",
            )
            for each in versions
            if "ImageId" in each["LaunchTemplateData"]
        ]

    def _configurations(self) -> list[tuple[str, str]]:
        """EC2's own API does not know them."""
        client = self._client("autoscaling")
        with self._told("autoscaling"):
            pages = client.get_paginator("describe_launch_configurations").paginate()
            found = [each for page in pages for each in page["LaunchConfigurations"]]
        return [
            (each["ImageId"], f"launch configuration {each['LaunchConfigurationName']}")
            for each in found
        ]

    def submit_job(self, definition: dict[str, Any], submission: dict[str, Any]) -> str:
        """Register a job definition of AWS Batch and submit that very revision; returns its id."""
        client = self._client("batch")
        with self._told("batch"):
            registered = client.register_job_definition(**definition)
            arn = registered["jobDefinitionArn"]
            return str(client.submit_job(**{**submission, "jobDefinition": arn})["jobId"])

    def _client(self, service: Literal["ec2", "autoscaling", "ssm", "batch"]) -> Any:
        settings = Config(connect_timeout=10, retries={"mode": "standard"})
        try:
            with self._told(service):
                return self._session.client(service, region_name=self.name, config=settings)
        except ValueError as error:
            remedy = "write it as https://HOST"
            raise InputError(str(error), where="AWS_ENDPOINT_URL", remedy=remedy) from error

    @contextmanager
    def _told(self, service: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise _refusal(error, service, self.name) from error
        except BotoCoreError as error:
            raise _failure(error, service, self.name) from error


def regions(given: Iterable[str]) -> list[Region]:
    """The regions that are meant, each once: those given, else the environment's or profile's.

    Raises:
        InputError: None is given anywhere, or there is none of that name. AWS was not asked.
    """
    session = _session()
    names = list(dict.fromkeys(given)) or [_usual_region(session)]
    known = {
        name
        for partition in session.get_available_partitions()
        for name in session.get_available_regions("ec2", partition_name=partition)
    }
    for name in names:
        if name not in known:
            remedy = suggestion(name, known)
            raise InputError(f"there is no region {name}", where="--region", remedy=remedy)
    return [Region(name, session) for name in names]


def _session() -> boto3.Session:
    try:
        return boto3.Session()
    except ProfileNotFound as error:
        remedy = suggestion(os.environ.get("AWS_PROFILE", ""), get_session().available_profiles)
        raise InputError(str(error), where="AWS_PROFILE", remedy=remedy) from error
    except BotoCoreError as error:
        raise InputError(str(error), where="AWS configuration", remedy="correct it") from error


def _usual_region(session: boto3.Session) -> str:
    # boto3 does not read AWS_REGION, which the other tools of AWS do.
    found = os.environ.get("AWS_REGION") or session.region_name
    if not found:
        remedy = "give --region, or set AWS_REGION, or a region in your AWS profile"
        raise InputError("no region is given", where="--region", remedy=remedy)
    return found


def _refusal(error: ClientError, service: str, region: str) -> BakehouseError:
    """What AWS answered with."""
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message", "")
    action = f"{service}:{error.operation_name}"
    where = f"AWS, region {region}"
    if code in _EXPIRED:
        remedy = f"{_LOG_IN}; or set this machine's clock"
        return HostError(f"the credentials have expired ({code})", where=where, remedy=remedy)
    if code in _DENIED:
        remedy = f"have {action} added to your policy; see docs/amis.md"
        what = f"you may not call {action}: {message}"
        return HostError(what, where=where, remedy=remedy)
    if code in _REFUSED:
        what = f"the credentials are not taken ({code}): {message}"
        remedy = f"{_LOG_IN}; or enable the region for the account"
        return HostError(what, where=where, remedy=remedy)
    remedy = "see what AWS says of it, and try again"
    return HostError(f"{action} failed: {message} ({code})", where=where, remedy=remedy)


def _failure(error: Exception, service: str, region: str) -> BakehouseError:
    """What happened before AWS answered."""
    where = f"AWS, region {region}"
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        remedy = "log in (aws sso login, aws configure), set AWS_PROFILE, or use an instance's role"
        return HostError(f"there are no credentials: {error}", where=where, remedy=remedy)
    expired = (
        exceptions.SSOError, exceptions.TokenRetrievalError, exceptions.CredentialRetrievalError,
    )  # fmt: skip
    if isinstance(error, expired):
        return HostError(f"the credentials cannot be had: {error}", where=where, remedy=_LOG_IN)
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        remedy = "look at the network, HTTPS_PROXY, AWS_CA_BUNDLE and AWS_ENDPOINT_URL"
        return HostError(f"{service} cannot be reached: {error}", where=where, remedy=remedy)
    return HostError(f"{service} cannot be asked: {error}", where=where, remedy="correct it")
