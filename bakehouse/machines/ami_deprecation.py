"""Deprecate an AMI from a day on: other accounts no longer find it, and EC2 marks it."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from bakehouse.errors import InputError
from bakehouse.machines.ami_selection import Placed
from bakehouse.machines.ami_steps import Step

_SPAN = re.compile(r"([0-9]{1,5})([hdw])", re.ASCII)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_MOST = timedelta(days=3650)
"""EC2 takes ten years at most."""


def parse_span(option: str, text: str) -> timedelta:
    """A span of time: `12h`, `90d`, `4w`.

    Raises:
        InputError: It is none.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        remedy = "write a number and h, d or w: 90d"
        raise InputError("this is no span of time", where=f"{option} {text}", remedy=remedy)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def moment(on: str | None, after: str | None, now: datetime) -> datetime:
    """When to deprecate: on a day (or a moment), or after a span; UTC, whole minutes.

    Raises:
        InputError: Both or neither is given, it is no date or span, has passed, or is too far off.
    """
    if (on is None) == (after is None):
        remedy = "--on 2027-01-31, or --in 90d"
        raise InputError("give either a day or a span", where="--on, --in", remedy=remedy)
    if after is not None:
        where, found = f"--in {after}", now + parse_span("--in", after)
    else:
        where, found = f"--on {on}", _date(str(on))
    found = found.replace(second=0, microsecond=0)
    if found <= now:
        remedy = f"give a day after {now:%Y-%m-%d}"
        raise InputError("this has passed", where=where, remedy=remedy)
    if found > now + _MOST:
        remedy = f"EC2 takes ten years at most: {now + _MOST:%Y-%m-%d}"
        raise InputError("this is too far off", where=where, remedy=remedy)
    return found


def plan(placed: Sequence[Placed], when: datetime) -> tuple[list[Step], list[str]]:
    """The steps, and what to warn of; nothing is changed."""
    steps = [
        Step(
            region=each.region.name,
            target=each.ami.id,
            told=f"deprecate from {when:%Y-%m-%d %H:%M} UTC on{_before(each)}",
            make=partial(each.region.deprecate, each.ami.id, when),
        )
        for each in placed
        if each.ami.deprecated_from != when
    ]
    warnings = [
        f"{each.ami}, {each.ami.region}: it has the channel {each.ami.channel}: "
        "promote another before that day"
        for each in placed
        if each.ami.channel
    ]
    return steps, warnings


def _before(placed: Placed) -> str:
    present = placed.ami.deprecated_from
    return f" (was {present:%Y-%m-%d %H:%M})" if present else ""


def _date(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        remedy = "write it as 2027-01-31, or 2027-01-31T12:00+00:00"
        raise InputError("this is no date", where=f"--on {text}", remedy=remedy) from error
