"""The list of checks, and running them: each within its time, none ending in a traceback."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, Union

from bakehouse.checks.host import Host
from bakehouse.checks.result import GROUPS, STATUSES, Outcome, Result, skipped

Finding = Union[Outcome, "list[Outcome]"]
Function = Callable[[Host], Finding]
CheckFunction = TypeVar("CheckFunction", bound=Function)

GRACE_S = 5.0
"""Seconds beyond a program's own budget before a check itself counts as hung."""

NOTHING = "there is nothing here that it could look at"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Check:
    """One check: what it is called and the function that does it."""

    id: str
    group: str
    title: str
    function: Function


CHECKS: dict[str, Check] = {}


def check(identifier: str, group: str, title: str) -> Callable[[CheckFunction], CheckFunction]:
    """Register a function as a check."""

    def register(function: CheckFunction) -> CheckFunction:
        if group not in GROUPS or identifier in CHECKS:
            raise ValueError(f"check {identifier}: unknown group or used twice")
        CHECKS[identifier] = Check(identifier, group, title, function)
        return function

    return register


def select(groups: Iterable[str], identifiers: Iterable[str]) -> list[Check]:
    """Checks of the groups (all, if none is named), or those named.

    Raises:
        KeyError: There is no such group or check.
    """
    wanted_groups, wanted = list(groups), list(identifiers)
    for name in wanted_groups:
        if name not in GROUPS:
            raise KeyError(f"there is no group {name}; one of: {', '.join(GROUPS)}")
    for name in wanted:
        if name not in CHECKS:
            raise KeyError(f"there is no check {name}; `--list` shows them")
    if wanted:
        return [CHECKS[name] for name in wanted]
    return [c for c in CHECKS.values() if not wanted_groups or c.group in wanted_groups]


def run(checks: Iterable[Check], host: Host) -> list[Result]:
    """Run checks one after the other."""
    return [result for each in checks for result in _run_one(each, host)]


def _run_one(each: Check, host: Host) -> list[Result]:
    started = time.monotonic()
    box: list[Any] = []
    thread = threading.Thread(target=_guarded, args=(each.function, host, box), daemon=True)
    thread.start()
    thread.join(host.budget_s + GRACE_S)
    found = box[0] if box else Outcome("fail", reason="timed out", remedy="see what it waits for")
    seconds = round(time.monotonic() - started, 3)
    outcomes = found if isinstance(found, list) else [found]
    return [_result(each, outcome, seconds) for outcome in outcomes or [skipped(NOTHING)]]


def _guarded(function: Function, host: Host, box: list[Any]) -> None:
    try:
        found = function(host)
        for outcome in found if isinstance(found, list) else [found]:
            if outcome.status not in STATUSES:
                raise ValueError(f"{outcome.status!r} is no status")
        box.append(found)
    except TimeoutError as error:
        box.append(Outcome("fail", reason=f"timed out: {error}", remedy="see what it waits for"))
    except BaseException as error:  # noqa: BLE001 - a check that breaks is a finding, not a crash
        reason = f"the check could not understand what it found: {type(error).__name__}: {error}"
        box.append(Outcome("fail", reason=reason, remedy="look at the file or program it reads"))


def _result(each: Check, outcome: Outcome, seconds: float) -> Result:
    return Result(
        id=f"{each.id}-{outcome.suffix}" if outcome.suffix else each.id,
        group=each.group,
        title=f"{each.title}: {outcome.suffix}" if outcome.suffix else each.title,
        status=outcome.status,
        measured=_plain(outcome.measured),
        expected=_plain(outcome.expected),
        source=outcome.source,
        reason=_plain(outcome.reason),
        remedy=outcome.remedy,
        seconds=seconds,
    )


def _plain(value: Any) -> Any:
    """Text that every file and terminal can hold: names of files may be no text at all."""
    if not isinstance(value, str):
        return value
    return _CONTROL.sub("", value).encode("utf-8", "backslashreplace").decode("utf-8")
