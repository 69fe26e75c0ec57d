"""Compatibility rules between the records of a stack, evaluated with PEP 440 specifiers."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version
from pydantic import Field, field_validator

from bakehouse import layout
from bakehouse.console import progress
from bakehouse.errors import InputError
from bakehouse.stacks import documents
from bakehouse.stacks.records import Prose
from bakehouse.stacks.stack import Stack
from bakehouse.stacks.validation import Model, suggestion, validate

CONTEXTS = ("os", "kernel", "gpu_generation", "architecture")
_TEXTS = frozenset({"os", "gpu_generation", "architecture"})
"""Contexts that are compared as texts, not as versions."""

_NAME = r"[a-z][a-z0-9_]*_release(?:/[a-z0-9-]+)?"
_SUBJECT = re.compile(rf"{_NAME}|{'|'.join(CONTEXTS)}")
_REFERENCE = re.compile(rf"\{{({_NAME}|kernel)(?:\.(major|minor|release))?\}}")
_LEADING_RELEASE = re.compile(r"^v?(\d+(?:\.\d+)*(?:-\d+)?)")
Wanted = str | list[str]
Terms = dict[str, Wanted]


class Rule(Model):
    """One rule: when all of `when` holds, all of `require` must."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    title: Prose
    when: Terms = Field(default_factory=dict)
    require: Terms = Field(min_length=1)
    reason: Prose
    source: str = Field(pattern=r"^https://\S+$")

    @field_validator("when", "require")
    @classmethod
    def _evaluable(cls, terms: Terms) -> Terms:
        for subject, wanted in terms.items():
            _refuse_unusable(subject, wanted)
        return terms


class Rules(Model):
    """The file stacks/constraints.yml."""

    rules: list[Rule]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a rule says about a stack.

    Attributes:
        rule: The rule.
        status: A rule does not apply where a component or context that it speaks of is missing.
        message: What is there and what must be; only of a broken rule.
        satisfying: What would mend it; only of a broken rule.
        subjects: What it judges, the wrong ones first; only of a broken rule.
    """

    rule: Rule
    status: Literal["holds", "broken", "not_applicable"]
    message: str = ""
    satisfying: str = ""
    subjects: tuple[str, ...] = ()

    def keys(self, stack: Stack) -> documents.Keys:
        """Where the stack's file says what is wrong, or else what the rule applies to."""
        pins = {
            f"{component}/{name}": (component, "requirements", place, "version")
            for component, place, name, _ in stack.python_pins()
        }
        places = {name: (name, "version") for name in stack.records} | pins
        return next((places[name] for name in self.subjects if name in places), ())

    def as_json(self) -> dict[str, str]:
        """For machines."""
        return {
            "rule": self.rule.id,
            "title": self.rule.title,
            "status": self.status,
            "message": self.message,
            "satisfying": self.satisfying,
            "reason": self.rule.reason,
            "source": self.rule.source,
        }


def load_rules(path: Path | None = None) -> list[Rule]:
    """Read the rules.

    Raises:
        InputError: The file is wrong, or two rules share an id.
    """
    document = documents.load(path or layout.STACKS / "constraints.yml")
    rules = validate(Rules, document.data, document, schema="constraints.json").rules
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
    stack: Stack, context: Mapping[str, str] | None = None, rules: Iterable[Rule] | None = None
) -> list[Finding]:
    """Evaluate every rule on a stack.

    Args:
        stack: The versions.
        context: What is known about the machine: os, kernel, gpu_generation, architecture.
        rules: Defaults to stacks/constraints.yml.

    Raises:
        InputError: The rules' file or the name of a context is wrong.
    """
    facts = _facts(stack, context or {})
    return [_evaluate(rule, facts) for rule in (load_rules() if rules is None else rules)]


def broken(findings: Iterable[Finding]) -> list[Finding]:
    """The rules that a stack breaks."""
    return [finding for finding in findings if finding.status == "broken"]


def told(stack: Stack, found: Iterable[Finding]) -> str:
    """Broken rules, one line each: place in the stack's file, rule, what is wrong, and why."""
    return "\n".join(
        f"  {stack.path.name}:{stack.document.position(f.keys(stack))}: "
        f"{f.rule.id}: {f.message}, since {f.rule.reason}"
        for f in found
    )


def refuse_broken(stack: Stack, *, allow: bool = False) -> None:
    """Stop a build whose stack breaks a rule, or warn loudly where the user insists.

    Raises:
        InputError: A rule is broken and `allow` is not given.
    """
    found = broken(check(stack))
    if not found:
        return
    text = told(stack, found)
    if not allow:
        raise InputError(
            f"the stack breaks {len(found)} rule(s):\n{text}",
            where=stack.document.where(found[0].keys(stack)),
            remedy="; ".join(f.satisfying for f in found) + "; or insist by --allow-broken-stack",
        )
    progress.print("[bold red]WARNING: this stack breaks a rule; what it builds may not work:[/]")
    progress.print(text, markup=False, style="red")


def normalised(text: str) -> Version | None:
    """A version text as PEP 440: "v2.32.3-1" is 2.32.3.post1, "1.7.4-aws" is 1.7.4."""
    leading = _LEADING_RELEASE.match(text)
    for candidate in (text.removesuffix("-aws"), leading[1] if leading else ""):
        with suppress(ValueError):  # no version, or a number of thousands of digits
            return Version(candidate)
    return None


def _refuse_unusable(subject: str, wanted: Wanted) -> None:
    if not _SUBJECT.fullmatch(subject):
        near = suggestion(subject, CONTEXTS)
        raise ValueError(
            f"{subject} is neither <component>_release[/<requirement>] nor a context; {near}"
        )
    if isinstance(wanted, list):
        if subject not in CONTEXTS:
            raise ValueError(f"{subject}: only a context takes a list; write a specifier")
        return
    text = _REFERENCE.sub("0", wanted)
    if subject not in _TEXTS:
        try:
            SpecifierSet(text)
        except InvalidSpecifier as error:
            raise ValueError(
                f'{subject}: {wanted!r} is not a version specifier such as ">=1.2,<2"'
            ) from error


def _facts(stack: Stack, context: Mapping[str, str]) -> dict[str, str]:
    unknown = sorted(set(context) - set(CONTEXTS))
    if unknown:
        raise InputError(
            f"there is no context {unknown[0]}",
            where=f"--context {unknown[0]}={context[unknown[0]]}",
            remedy=suggestion(unknown[0], CONTEXTS),
        )
    pins = {f"{component}/{name}": version for component, _, name, version in stack.python_pins()}
    return {**stack.versions, **pins, **context}


def _evaluate(rule: Rule, facts: Mapping[str, str]) -> Finding:
    names = {*rule.when, *rule.require}
    for value in (*rule.when.values(), *rule.require.values()):
        names |= {m[1] for m in _REFERENCE.finditer(value)} if isinstance(value, str) else set()
    if not names <= set(facts):
        return Finding(rule=rule, status="not_applicable")
    if not all(_holds(name, wanted, facts) for name, wanted in rule.when.items()):
        return Finding(rule=rule, status="not_applicable")
    wrong = [name for name, wanted in rule.require.items() if not _holds(name, wanted, facts)]
    if not wrong:
        return Finding(rule=rule, status="holds")
    conditions = [f"{name} is {facts[name]}" for name in rule.when if name not in wrong]
    since = f" (since {' and '.join(conditions)})" if conditions else ""
    told = [f"{name} is {facts[name]}, must be {_told(rule, name, facts)}" for name in wrong]
    mends = [" and ".join(f"{name} {_told(rule, name, facts)}" for name in wrong)]
    mends += [
        f"{name} outside {_shown(wanted, facts)}"
        for name, wanted in rule.when.items()
        if name.endswith("_release") or "/" in name
    ]
    return Finding(
        rule=rule,
        status="broken",
        message="; ".join(told) + since,
        satisfying="set " + ", or ".join(mends),
        subjects=(*wrong, *rule.when),
    )


def _told(rule: Rule, name: str, facts: Mapping[str, str]) -> str:
    return _shown(rule.require[name], facts)


def _shown(wanted: Wanted, facts: Mapping[str, str]) -> str:
    return " or ".join(wanted) if isinstance(wanted, list) else _resolved(wanted, facts)


def _holds(name: str, wanted: Wanted, facts: Mapping[str, str]) -> bool:
    present = facts[name]
    if isinstance(wanted, list):
        return present in wanted
    text = _resolved(wanted, facts)
    if name in _TEXTS:
        return present == text
    version = normalised(present)
    with suppress(ValueError):  # a version that is referred to cannot be compared
        return version is not None and SpecifierSet(text).contains(version, prereleases=True)
    return False


def _resolved(value: str, facts: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda match: _part(facts[match[1]], match[2]), value)


def _part(text: str, part: str | None) -> str:
    version = normalised(text)
    if version is None:
        return text
    parts: dict[str | None, str] = {
        None: version.public,
        "major": str(version.major),
        "minor": str(version.minor),
        "release": version.base_version,
    }
    return parts[part]
