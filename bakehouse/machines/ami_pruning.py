"""Prune: which old AMIs go, why each of the others is kept, and which snapshots go with them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

from bakehouse.machines import ami_tags
from bakehouse.machines.ami import Ami
from bakehouse.machines.ami_selection import ours
from bakehouse.machines.ami_steps import Step
from bakehouse.machines.aws import Region


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is kept.

    Attributes:
        image: Only AMIs of this image are looked at; None: of all.
        keep: So many of each kind stay, the newest that can be launched.
        older_than: Whatever is younger stays.
        now: The present, from which ages are counted.
    """

    image: str | None
    keep: int
    older_than: timedelta
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What becomes of one AMI.

    Attributes:
        ami: Which.
        reasons: Why it stays; it goes if there are none.
        snapshots: Those that go with it.
        snapshots_kept: Why the others stay, by their id.
    """

    ami: Ami
    reasons: Sequence[str] = ()
    snapshots: Sequence[str] = ()
    snapshots_kept: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "ami": self.ami.id,
            "region": self.ami.region,
            "name": self.ami.name,
            "image": self.ami.image,
            "created": self.ami.created.isoformat(),
            "kept": list(self.reasons),
            "snapshots": list(self.snapshots),
            "snapshots_kept": dict(self.snapshots_kept),
        }


def plan(amis: Sequence[Ami], region: Region, rules: Rules) -> list[Verdict]:
    """Judge the AMIs of one region, which are all of the account's there; nothing is changed.

    Raises:
        HostError: AWS cannot be asked. Nothing is pruned on half an answer.
    """
    judged = ours(amis, rules.image)
    if not judged:
        return []
    users = region.users()
    newest = _newest(judged, rules.keep)
    reasons = {ami.id: _reasons(ami, rules, newest, users.get(ami.id, ())) for ami in judged}
    # The oldest first: should it stop half-way, the newest are still there.
    going = [ami for ami in reversed(judged) if not reasons[ami.id]]
    verdicts = [
        Verdict(ami=ami, reasons=reasons[ami.id], snapshots_kept={})
        for ami in judged
        if reasons[ami.id]
    ]
    return verdicts + _with_snapshots(going, amis, region.tagged_snapshots() if going else set())


def explanations(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Why AMIs stay, and snapshots of those that go; a line each."""
    for verdict in verdicts:
        ami = verdict.ami
        if verdict.reasons:
            yield f"kept: {ami.region}: {ami}: {'; '.join(verdict.reasons)}"
        for snapshot, why in verdict.snapshots_kept.items():
            yield f"kept: {ami.region}: {snapshot}, of {ami.id}: {why}"


def steps(verdicts: Iterable[Verdict], region: Region) -> list[Step]:
    """What removes the AMIs that go: each, then its snapshots."""
    return list(
        chain.from_iterable(_removal(each, region) for each in verdicts if not each.reasons)
    )


def _removal(verdict: Verdict, region: Region) -> list[Step]:
    ami = verdict.ami
    deregistration = Step(
        region=region.name,
        target=ami.id,
        told=f"deregister {ami.name}".rstrip(),
        make=partial(region.deregister, ami.id),
    )
    deletions = [
        Step(
            region=region.name,
            target=snapshot,
            told=f"delete the snapshot, of {ami.id}",
            make=partial(region.delete_snapshot, snapshot),
        )
        for snapshot in verdict.snapshots
    ]
    return [deregistration, *deletions]


def _newest(amis: Sequence[Ami], keep: int) -> dict[str, str]:
    """Why those stay that are the newest of their kind, by id; one that cannot start is none."""
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for ami in sorted(amis, key=lambda ami: (ami.created, ami.id), reverse=True):
        if ami.state == "available":
            kinds.setdefault(ami.kind, []).append(ami.id)
    told = f"one of the {keep} newest" if keep > 1 else "the newest"
    return {each: told for members in kinds.values() for each in members[:keep]}


def _reasons(ami: Ami, rules: Rules, newest: Mapping[str, str], users: Sequence[str]) -> list[str]:
    reasons = [newest[ami.id]] if ami.id in newest else []
    if ami.channel:
        reasons.append(f"channel {ami.channel}")
    # A copy is younger than its bake: someone may just be about to use it.
    if rules.now - max(ami.created, ami.registered) < rules.older_than:
        reasons.append(f"younger than {_days(rules.older_than)}")
    if users:
        more = f" and {len(users) - 3} more" if len(users) > 3 else ""
        reasons.append(f"used by {', '.join(users[:3])}{more}")
    if ami.state == "pending":
        reasons.append("still being made")
    if ami.protected:
        reasons.append("protected from deregistration")
    return reasons


def _days(span: timedelta) -> str:
    hours = round(span.total_seconds() / 3600)
    return f"{hours // 24} days" if hours % 24 == 0 else f"{hours} hours"


def _with_snapshots(going: Sequence[Ami], amis: Sequence[Ami], tagged: set[str]) -> list[Verdict]:
    """A snapshot of several that go, goes with the last of them."""
    gone = {ami.id for ami in going}
    users = {snapshot: ami.id for ami in amis if ami.id not in gone for snapshot in ami.snapshots}
    last = {snapshot: ami.id for ami in going for snapshot in ami.snapshots}
    verdicts = []
    for ami in going:
        kept = {}
        for snapshot in ami.snapshots:
            if snapshot not in tagged:
                kept[snapshot] = f"no tag {ami_tags.IMAGE}"
            elif snapshot in users:
                kept[snapshot] = f"{users[snapshot]} needs it"
        here = [each for each in ami.snapshots if each not in kept and last[each] == ami.id]
        verdicts.append(Verdict(ami=ami, snapshots=here, snapshots_kept=kept))
    return verdicts
