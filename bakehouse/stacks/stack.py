"""Loading a stack: a flat Ansible variables file, one record per component."""

import difflib
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.stacks import documents
from bakehouse.stacks.records import KINDS, Record, kind_of

NOT_STACKS = frozenset({"constraints", "instances"})


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Versions that go together.

    Attributes:
        name: File name without suffix.
        document: The file it came from.
        records: Component's argument name to its record.
    """

    name: str
    document: documents.Document
    records: dict[str, Record]

    @property
    def path(self) -> Path:
        """The file."""
        return self.document.path

    @property
    def variables(self) -> dict[str, Any]:
        """The stack as Ansible sees it."""
        return self.document.data

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the variables in canonical JSON."""
        text = json.dumps(self.variables, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def versions(self) -> dict[str, str]:
        """Component's argument name to its version."""
        return {name: record.version for name, record in self.records.items()}


def stack_names() -> list[str]:
    """Names of all stacks."""
    return sorted(p.stem for p in layout.STACKS.glob("*.yml") if p.stem not in NOT_STACKS)


def load_stack(name: str) -> Stack:
    """Read and validate `stacks/<name>.yml`.

    Raises:
        InputError: No such stack, or its file is wrong; names file, line, key, reason and remedy.
    """
    path = layout.STACKS / f"{name}.yml"
    if not path.is_file():
        raise InputError(
            f"there is no stack {name}", where=str(path), remedy=suggestion(name, stack_names())
        )
    return parse(documents.load(path))


def parse(document: documents.Document, known: Iterable[str] | None = None) -> Stack:
    """Validate a stack's document.

    Raises:
        InputError: At the first thing that is wrong.
    """
    components = set(known_components() if known is None else known)
    records = {
        key: _record(document, key, value, components) for key, value in document.data.items()
    }
    for key, record in records.items():
        bundle = getattr(record, "bundled_in", None)
        if bundle is not None and bundle not in records:
            raise InputError(
                f"{bundle} is not in this stack",
                where=document.where((key, "bundled_in")),
                remedy=suggestion(bundle, records),
            )
    return Stack(name=document.path.stem, document=document, records=records)


def known_components() -> set[str]:
    """Arguments that roles take, test cases' records, and components that a rule speaks of."""
    files = [*layout.ROLES.glob("*/meta/argument_specs.yml"), layout.STACKS / "constraints.yml"]
    texts = [file.read_text(encoding="utf-8") for file in files if file.is_file()]
    names = {name for text in texts for name in re.findall(r"\b[a-z][a-z0-9_]*_release\b", text)}
    cases = {
        f"{p.parent.name.replace('-', '_')}_release" for p in layout.CONTAINERS.glob("*/case.yml")
    }
    return names | cases


def suggestion(wrong: str, choices: Iterable[str]) -> str:
    """A remedy for a mistyped name."""
    names = sorted(choices)
    near = difflib.get_close_matches(wrong, names, n=1)
    return f"did you mean {near[0]}?" if near else f"one of: {', '.join(names)}"


def _record(document: documents.Document, key: str, value: Any, known: set[str]) -> Record:
    where = document.where((key,))
    if key not in known:
        raise InputError(f"unknown key {key}", where=where, remedy=suggestion(key, known))
    if not isinstance(value, dict):
        raise InputError(
            f"a record is a mapping, not {type(value).__name__}",
            where=where,
            remedy="write version and what verifies it below the key",
        )
    kind = kind_of(value)
    if kind is None:
        raise InputError(
            "the record has nothing that verifies it",
            where=where,
            remedy="add url and sha256, or repository and its key, or package (the distribution's "
            "own), or requirements, or bundled_in",
        )
    model = KINDS[kind]
    try:
        return cast("Record", model.model_validate(value))
    except ValidationError as error:
        raise _explained(document, key, kind, error) from error


def _explained(
    document: documents.Document, key: str, kind: str, error: ValidationError
) -> InputError:
    first = error.errors()[0]
    path = (key, *first["loc"])
    reason = first["msg"].removeprefix("Value error, ")
    remedy = f"see the {kind} record in schemas/stack.json"
    if first["type"] == "extra_forbidden":
        reason = f"unknown key {first['loc'][-1]}"
        remedy = suggestion(str(first["loc"][-1]), KINDS[kind].model_fields)
    elif first["type"] == "missing":
        reason = f"{first['loc'][-1]} is missing"
    elif first["type"] == "string_type":
        remedy = "write it in quotes"
    return InputError(reason, where=document.where(path), remedy=remedy)
