"""Compatibility rules between the records of a stack, evaluated with PEP 440 specifiers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bakehouse import layout
from bakehouse.console import progress
from bakehouse.errors import InputError
from bakehouse.stacks import documents
from bakehouse.stacks.records import PythonRecord
from bakehouse.stacks.stack import Stack

CONTEXTS = ("os", "kernel", "gpu_generation", "architecture")
_REFERENCE = re.compile(r"\{([a-z0-9_/-]+)(?:\.(major|minor|release))?\}")
_LEADING_RELEASE = re.compile(r"^v?(\d+(?:\.\d+)*(?:-\d+)?)")
Terms = dict[str, str | list[str]]


class Rule(BaseModel):
    """One rule: when all of `when` holds, all of `require` must."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    title: str
    when: Terms = {}
    require: Terms = Field(min_length=1)
    reason: str
    source: str = Field(pattern=r"^https://\S+$")


class Rules(BaseModel):
    """The file stacks/constraints.yml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    rules: list[Rule]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a rule says about a stack."""

    rule: Rule
    status: Literal["holds", "broken", "not_applicable"]
    message: str = ""
    satisfying: str = ""


def load_rules(path: Path | None = None) -> list[Rule]:
    """Read the rules.

    Raises:
        InputError: The file is wrong, or two rules share an id.
    """
    document = documents.load(path or layout.STACKS / "constraints.yml")
    try:
        rules = Rules.model_validate(document.data).rules
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            first["msg"], where=document.where(first["loc"]), remedy="see schemas/constraints.json"
        ) from error
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        if rule.id in seen:
            raise InputError(
                f"two rules are named {rule.id}",
                where=document.where(("rules", index, "id")),
                remedy="rename one",
            )
        seen.add(rule.id)
    return rules


def check(
    stack: Stack, context: Mapping[str, str] | None = None, rules: list[Rule] | None = None
) -> list[Finding]:
    """Evaluate every rule on a stack.

    Args:
        stack: The versions.
        context: What is known about the machine: os, kernel, gpu_generation, architecture.
        rules: Defaults to stacks/constraints.yml.

    Raises:
        InputError: A rule or a context name cannot be evaluated.
    """
    facts = _facts(stack, context or {})
    return [_evaluate(rule, facts) for rule in (load_rules() if rules is None else rules)]


def refuse_broken(stack: Stack, *, allow: bool = False) -> None:
    """Stop a build whose stack breaks a rule, or warn loudly where the user insists.

    Raises:
        InputError: A rule is broken and `allow` is not given.
    """
    broken = [finding for finding in check(stack) if finding.status == "broken"]
    if not broken:
        return
    text = "; ".join(f"{f.rule.id}: {f.message} ({f.rule.reason})" for f in broken)
    if not allow:
        raise InputError(
            f"the stack breaks a rule: {text}",
            where=str(stack.path),
            remedy="; ".join(f.satisfying for f in broken) + "; or --allow-broken-stack",
        )
    progress.print(f"[bold red]WARNING: building with a stack that breaks a rule: {text}[/]")


def normalised(text: str) -> Version | None:
    """A version text as PEP 440: "v2.32.3-1" is 2.32.3.post1, "1.7.4-aws" is 1.7.4."""
    try:
        return Version(text.removesuffix("-aws"))
    except InvalidVersion:
        match = _LEADING_RELEASE.match(text)
        return Version(match[1]) if match else None


def _facts(stack: Stack, context: Mapping[str, str]) -> dict[str, str]:
    unknown = set(context) - set(CONTEXTS)
    if unknown:
        raise InputError(f"unknown context {min(unknown)}", remedy=f"one of: {', '.join(CONTEXTS)}")
    facts = dict(stack.versions)
    for name, record in stack.records.items():
        if isinstance(record, PythonRecord):
            facts.update({f"{name}/{r.name}": r.version for r in record.requirements})
    return facts | dict(context)


def _evaluate(rule: Rule, facts: Mapping[str, str]) -> Finding:
    names = {*rule.when, *rule.require}
    for value in (*rule.when.values(), *rule.require.values()):
        names |= {m[1] for m in _REFERENCE.finditer(value)} if isinstance(value, str) else set()
    if not names <= set(facts):
        return Finding(rule=rule, status="not_applicable")
    if not all(_holds(rule, name, value, facts) for name, value in rule.when.items()):
        return Finding(rule=rule, status="not_applicable")
    for name, value in rule.require.items():
        if not _holds(rule, name, value, facts):
            wanted = _wanted(value, facts)
            return Finding(
                rule=rule,
                status="broken",
                message=f"{name} is {facts[name]}, but must be {wanted}",
                satisfying=f"set {name} to {wanted}",
            )
    return Finding(rule=rule, status="holds")


def _wanted(value: str | list[str], facts: Mapping[str, str]) -> str:
    return " or ".join(value) if isinstance(value, list) else _resolved(value, facts)


def _holds(rule: Rule, name: str, value: str | list[str], facts: Mapping[str, str]) -> bool:
    present = facts[name]
    if isinstance(value, list):
        return present in value
    wanted = _resolved(value, facts)
    try:
        specifiers = SpecifierSet(wanted)
    except InvalidSpecifier as error:
        if name in CONTEXTS:
            return present == wanted
        raise InputError(
            f"{wanted!r} is not a version specifier",
            where=f"{layout.STACKS / 'constraints.yml'}: {rule.id}",
            remedy='write for instance ">=1.2,<2"',
        ) from error
    version = normalised(present)
    if version is None:
        return False
    return specifiers.contains(version, prereleases=True)


def _resolved(value: str, facts: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda match: _part(facts[match[1]], match[2]), value)


def _part(text: str, part: str | None) -> str:
    version = normalised(text)
    if version is None:
        return text
    values: dict[Any, str] = {
        None: version.public,
        "major": str(version.major),
        "minor": str(version.minor),
        "release": version.base_version,
    }
    return values[part]
