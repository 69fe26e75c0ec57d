"""Reading configurations/*.json into dataclasses: each key there, of its type, and possible.

Needs nothing but the standard library.
"""

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args

from training.records import WRONG_INPUT, Stop

T = TypeVar("T")
Choices = Mapping[str, tuple[str, ...]]


def read(path: Path, *sections: str) -> dict[str, Any]:
    """Return the object that a file holds.

    Args:
        path: JSON.
        sections: Keys that must be there and hold objects themselves.

    Raises:
        Stop: It cannot be read, or holds something else.
    """
    try:
        values = dict(json.loads(path.read_text(encoding="utf-8")))
        for section in sections:
            values[section] = dict(values[section])
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"{path} is no configuration: {type(error).__name__} {error}"
        raise Stop(WRONG_INPUT, message) from error
    return values


def change(changes: Iterable[tuple[str, str]], *places: dict[str, Any]) -> None:
    """Put other values in place of those of a file.

    Args:
        changes: Names, and their values as JSON or plain text.
        places: Where the names may be; the first that has one is changed.

    Raises:
        Stop: None has it; says what was perhaps meant.
    """
    for name, text in changes:
        place = next((place for place in places if name in place), None)
        if place is None:
            known = [key for place in places for key in place]
            raise Stop(WRONG_INPUT, f"--set {name}: {_unknown(name, known)}")
        place[name] = _value(text)


def made(
    kind: type[T],
    values: Mapping[str, Any],
    path: Path,
    *,
    may_be_zero: Iterable[str] = (),
    choices: Choices | None = None,
) -> T:
    """Return a dataclass of values; every field must be given, and numbers be above 0.

    Args:
        kind: The dataclass.
        values: Of its fields.
        path: Where they come from, for messages.
        may_be_zero: Fields that may also be 0.
        choices: Fields that have one of a few values.

    Raises:
        Stop: A key is unknown or missing, a value of the wrong type or out of range; says which.
    """
    types: dict[str, Any] = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    for name in sorted(values.keys() - types.keys()):
        raise Stop(WRONG_INPUT, f"{path}: {name}: {_unknown(name, types)}")
    if missing := sorted(types.keys() - values.keys()):
        raise Stop(WRONG_INPUT, f"{path}: missing: {', '.join(missing)}")
    zero, allowed = set(may_be_zero), choices or {}
    for name, value in values.items():
        if not fits(value, types[name]):
            told = getattr(types[name], "__name__", str(types[name]))
        elif name in allowed and value not in allowed[name]:
            told = " or ".join(allowed[name])
        elif not _in_range(value, least_is_zero=name in zero):
            told = "at least 0" if name in zero else "above 0"
        else:
            continue
        raise Stop(WRONG_INPUT, f"{path}: {name} is {value!r}; it must be {told}")
    return kind(**values)


def refuse_broken(rules: Mapping[str, object], path: Path) -> None:
    """Refuse what cannot be trained.

    Args:
        rules: What must hold, and whether it is violated.
        path: Where the values come from.

    Raises:
        Stop: With the first rule that is violated.
    """
    if broken := [rule for rule, violated in rules.items() if violated]:
        raise Stop(WRONG_INPUT, f"{path}: {broken[0]}")


def fits(value: Any, kind: Any) -> bool:
    """Return whether a value of a JSON file is of a field's type; a whole number is a float too."""
    if isinstance(kind, UnionType):
        return any(fits(value, one) for one in get_args(kind))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    plain = getattr(kind, "__origin__", kind)
    return isinstance(value, plain) and (kind is bool or not isinstance(value, bool))


def are_betas(values: list[Any]) -> bool:
    """Return whether these are the two betas of Adam."""
    return len(values) == 2 and all(fits(beta, float) and 0 <= beta < 1 for beta in values)


def _in_range(value: Any, *, least_is_zero: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return 0 <= value < math.inf and (value > 0 or least_is_zero)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return "there is no such setting" + (f", did you mean {near[0]}?" if near else "")
