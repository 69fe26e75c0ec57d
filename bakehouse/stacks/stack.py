"""Loading a stack: a flat Ansible variables file, one record per component."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.stacks import documents
from bakehouse.stacks.records import BundledRecord, PythonRecord, Record, model_of, record_keys
from bakehouse.stacks.validation import suggestion, validate

__all__ = [
    "Stack",
    "known_components",
    "load_stack",
    "parse",
    "source_of_case",
    "stack_names",
    "suggestion",
    "wheels_of_case",
]

NOT_STACKS = frozenset({"constraints", "environment", "instances", "prices"})


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

    @property
    def role_records(self) -> list[str]:
        """Records that roles take: all but those of test cases, each of which has its own image."""
        return [name for name in self.records if name not in case_records()]

    def python_pins(self) -> Iterator[tuple[str, int, str, str]]:
        """Each requirement of a Python record: component, place in its list, name, version."""
        for component, record in self.records.items():
            if isinstance(record, PythonRecord):
                for place, requirement in enumerate(record.requirements):
                    yield component, place, requirement.name, requirement.version


def stack_names() -> list[str]:
    """Names of all stacks."""
    return sorted(p.stem for p in layout.STACKS.glob("*.yml") if p.stem not in NOT_STACKS)


def stack_path(name: str) -> Path:
    """File of a stack.

    Raises:
        InputError: There is no such stack; says which name was perhaps meant.
    """
    if name not in stack_names():
        raise InputError(
            f"there is no stack {name}",
            where=str(layout.STACKS / f"{name}.yml"),
            remedy=suggestion(name, stack_names()),
        )
    return layout.STACKS / f"{name}.yml"


def load_stack(name: str) -> Stack:
    """Read and validate `stacks/<name>.yml`.

    Raises:
        InputError: No such stack, or its file is wrong; names file, line, key, reason and remedy.
    """
    return parse(documents.load(stack_path(name)))


def parse(document: documents.Document, known: Iterable[str] | None = None) -> Stack:
    """Validate a stack's document.

    Args:
        document: The file.
        known: Components that may be in it; `known_components()` by default.

    Raises:
        InputError: At the first thing that is wrong.
    """
    components = set(known_components() if known is None else known)
    records = {
        key: _record(document, key, value, components) for key, value in document.data.items()
    }
    stack = Stack(name=document.path.stem, document=document, records=records)
    _refuse_missing_bundle(stack)
    _refuse_two_versions(stack)
    return stack


def known_components() -> set[str]:
    """Arguments that roles take, test cases' records, and components that a rule speaks of."""
    names: set[str] = set()
    for file in layout.ROLES.glob("*/meta/argument_specs.yml"):
        text = file.read_text(encoding="utf-8")
        names.update(re.findall(r"^ +([a-z][a-z0-9_]*_release):", text, re.MULTILINE))
    rules = layout.STACKS / "constraints.yml"
    if rules.is_file():
        text = rules.read_text(encoding="utf-8")
        names.update(re.findall(r"""[{\s"']([a-z][a-z0-9_]*_release)(?=["']?[:/.}])""", text))
    return names | case_records()


def case_records() -> set[str]:
    """Names of the records that test cases may have, each for what it adds to its base."""
    folders = [case.parent.name for case in layout.CONTAINERS.glob("*/case.yml")]
    return {record for name in folders for record in (wheels_of_case(name), source_of_case(name))}


def wheels_of_case(case: str) -> str:
    """Name of the record of the wheels that a test case adds to its base, if it adds any."""
    return f"{case.replace('-', '_')}_release"


def source_of_case(case: str) -> str:
    """Name of the record of the source tree that a test case is built with, if it has one."""
    return f"{case.replace('-', '_')}_source_release"


def _record(document: documents.Document, key: str, value: Any, known: set[str]) -> Record:
    where = document.where((key,))
    if key not in known:
        raise InputError(f"unknown key {key}", where=where, remedy=suggestion(key, known))
    if not isinstance(value, dict):
        raise InputError(
            "a record must be a mapping",
            where=where,
            remedy="write version, and what verifies it, below the key",
        )
    model = model_of(value)
    if model is None:
        _refuse_unknown(document, key, value)
        raise InputError(
            "the record has nothing that verifies a download",
            where=where,
            remedy="add url and sha256, or repository and its key, or package (the distribution's "
            "own), or requirements, or bundled_in; see schemas/stack.json",
        )
    foreign = [k for k in value if k in record_keys() and k not in model.model_fields]
    if foreign:
        own = next(k for k in value if k in model.model_fields and k not in {"version", "pin"})
        raise InputError(
            f"`{foreign[0]}` does not go together with `{own}`",
            where=document.where((key, foreign[0])),
            remedy="a record is of exactly one kind: remove one of the two",
        )
    return cast("Record", validate(model, value, document, (key,), schema="stack.json"))


def _refuse_unknown(document: documents.Document, key: str, value: dict[str, Any]) -> None:
    unknown = next((k for k in value if k not in record_keys()), None)
    if unknown is not None:
        raise InputError(
            f"unknown key {unknown}",
            where=document.where((key, unknown)),
            remedy=suggestion(unknown, record_keys()),
        )


def _refuse_missing_bundle(stack: Stack) -> None:
    for key, record in stack.records.items():
        if not isinstance(record, BundledRecord):
            continue
        where = stack.document.where((key, "bundled_in"))
        if record.bundled_in not in stack.records:
            raise InputError(
                f"{record.bundled_in} is not in this stack",
                where=where,
                remedy=suggestion(record.bundled_in, set(stack.records) - {key}),
            )
        if isinstance(stack.records[record.bundled_in], BundledRecord):
            raise InputError(
                f"{record.bundled_in} is itself bundled: nothing here verifies it",
                where=where,
                remedy="name the record that is downloaded",
            )


def _refuse_two_versions(stack: Stack) -> None:
    """One image has one environment: a package of two Python records has one version.

    Two test cases are two images, and each has the environment of its base below it.
    """
    cases = case_records()
    pins = sorted(stack.python_pins(), key=lambda pin: pin[0] in cases)
    shared: dict[str, tuple[str, str]] = {}
    for component, place, name, version in pins:
        first, pinned = shared.get(name, (component, version))
        if component not in cases:
            shared.setdefault(name, (component, version))
        if version != pinned:
            raise InputError(
                f"{name} is pinned to {version} here, and to {pinned} in {first}",
                where=stack.document.where((component, "requirements", place, "version")),
                remedy="one environment holds one of them: run `bakehouse stack bump` on one "
                "of the two records",
            )
