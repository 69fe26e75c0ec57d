"""What a check found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

GROUPS = ("environment", "versions", "node", "collectives", "training", "hygiene")
STATUSES = ("pass", "warn", "fail", "skip")


@dataclass(frozen=True)
class Outcome:
    """The finding of one check, before it is known how long it took.

    Attributes:
        status: One of STATUSES; a skipped check is never counted as passed.
        measured: What is there.
        expected: What was promised.
        source: Where the expectation comes from.
        reason: Why it failed, warned or was skipped.
        remedy: What to do about it.
        suffix: Added to the check's id where one check judges several things.
    """

    status: str
    measured: Any = None
    expected: Any = None
    source: str = ""
    reason: str = ""
    remedy: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class Result:
    """An outcome with the check it belongs to and the seconds it took."""

    id: str
    group: str
    title: str
    status: str
    measured: Any
    expected: Any
    source: str
    reason: str
    remedy: str
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def judged(
    holds: bool, measured: Any, expected: Any, source: str, *, reason: str = "", remedy: str = ""
) -> Outcome:
    """Pass if it holds, else fail with the reason and the remedy."""
    if holds:
        return Outcome("pass", measured, expected, source)
    return Outcome("fail", measured, expected, source, reason or "not as expected", remedy)


def skipped(reason: str) -> Outcome:
    """Nothing was checked, and why."""
    return Outcome("skip", reason=reason)


def counts(results: list[Result]) -> dict[str, int]:
    """How many results have each status."""
    return {status: sum(r.status == status for r in results) for status in STATUSES}
