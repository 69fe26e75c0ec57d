"""Promote an AMI: give it the channel that machines look for, and take it from its predecessor."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bakehouse.errors import InputError
from bakehouse.machines import ami_tags
from bakehouse.machines.ami import Ami
from bakehouse.machines.ami_selection import Placed
from bakehouse.machines.ami_steps import Step
from bakehouse.machines.aws import Region

_CHANNEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What is wanted.

    Attributes:
        channel: `stable`.
        accounts: Those that may launch and copy the AMI, 12 digits each.
        force: Whether checks that did not pass may be overlooked.
    """

    channel: str
    accounts: Sequence[str] = ()
    force: bool = False

    def __post_init__(self) -> None:
        if not _CHANNEL.fullmatch(self.channel):
            remedy = "lower case letters, digits, '.', '_' and '-': stable"
            where = f"--channel {self.channel}"
            raise InputError("this is not the name of a channel", where=where, remedy=remedy)
        for account in self.accounts:
            if not _ACCOUNT.fullmatch(account):
                remedy = "an account is 12 digits, without dashes"
                where = f"--share {account}"
                raise InputError("this is not an AWS account", where=where, remedy=remedy)


def plan(wanted: Promotion, placed: Sequence[Placed]) -> tuple[list[Step], list[str]]:
    """The steps, and what to warn of; nothing is changed.

    Raises:
        InputError: An AMI cannot be launched, or its checks did not pass.
        HostError: AWS cannot be asked.
    """
    warnings = [text for each in placed for text in _judged(each.ami, wanted)]
    warnings += [
        f"{each.ami}, {each.ami.region}: it is deprecated from "
        f"{each.ami.deprecated_from:%Y-%m-%d} on: other accounts will not find it"
        for each in placed
        if each.ami.deprecated_from
    ]
    steps = []
    for each in placed:
        shares, told = _shares(each, wanted.accounts)
        # Should a step fail, two AMIs have the channel, or the shares: never none.
        steps += [*shares, *_channel(each, wanted.channel)]
        warnings += told
    return steps, warnings


def _judged(ami: Ami, wanted: Promotion) -> list[str]:
    where = f"{ami}, {ami.region}"
    if ami.state != "available":
        raise InputError(
            f"it cannot be launched: it is {ami.state}", where=where, remedy="wait, or bake again"
        )
    if ami.checks == ami_tags.PASSED:
        return []
    what = f"its checks are not passed: {ami_tags.CHECKS} is {ami.checks or 'not there'}"
    if not wanted.force:
        remedy = "bake and check it again; or --force, if you know better"
        raise InputError(what, where=where, remedy=remedy)
    return [f"{where}: {what}; promoted all the same (--force)"]


def _channel(placed: Placed, channel: str) -> list[Step]:
    """First the new one, then its predecessors: meanwhile the newer of two is the right one."""
    ami, region = placed.ami, placed.region
    steps = []
    if ami.channel != channel:
        before = f" (was {ami.channel})" if ami.channel else ""
        steps.append(
            Step(
                region=region.name,
                target=ami.id,
                told=f"set {ami_tags.CHANNEL}={channel}{before}",
                make=partial(region.set_tag, ami.id, ami_tags.CHANNEL, channel),
            )
        )
    steps += [
        Step(
            region=region.name,
            target=other.id,
            told=f"remove {ami_tags.CHANNEL}={channel}",
            make=partial(region.remove_tag, other.id, ami_tags.CHANNEL, channel),
        )
        for other in placed.ours
        if other.id != ami.id and other.kind == ami.kind and other.channel == channel
    ]
    return steps


def _shares(placed: Placed, accounts: Sequence[str]) -> tuple[list[Step], list[str]]:
    if not accounts:
        return [], []
    ami, region = placed.ami, placed.region
    steps = []
    if new := sorted(set(accounts) - region.launch_accounts(ami.id)):
        steps.append(
            Step(
                region=region.name,
                target=ami.id,
                told=f"let {', '.join(new)} launch it",
                make=partial(region.share, ami.id, new),
            )
        )
    tagged = region.tagged_snapshots()
    foreign = [snapshot for snapshot in ami.snapshots if snapshot not in tagged]
    warnings = [
        f"{ami}, {ami.region}: {snapshot} is not shared: it has no tag {ami_tags.IMAGE}"
        for snapshot in foreign
    ]
    for snapshot in ami.snapshots:
        if snapshot in tagged:
            steps += _snapshot_share(region, snapshot, accounts)
    if any(device.encrypted for device in ami.devices):
        warnings.append(
            f"{ami}, {ami.region}: it is encrypted: those accounts need its KMS key as well, "
            "and AWS lets nobody share the default key aws/ebs"
        )
    return steps, warnings


def _snapshot_share(region: Region, snapshot: str, accounts: Sequence[str]) -> list[Step]:
    new = sorted(set(accounts) - region.volume_accounts(snapshot))
    if not new:
        return []
    return [
        Step(
            region=region.name,
            target=snapshot,
            told=f"let {', '.join(new)} make volumes of it",
            make=partial(region.share_snapshot, snapshot, new),
        )
    ]
