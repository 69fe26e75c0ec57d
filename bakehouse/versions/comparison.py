"""What targets have, judged against stacks and compared with each other: pure functions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bakehouse.checks.versions import record_of
from bakehouse.errors import BakehouseError
from bakehouse.versions.components import COMPONENTS, Component, Promises
from bakehouse.versions.reach import Answer

SCHEMA = 1
Status = Literal["agrees", "drift", "missing", "unclear", "present", "absent"]
BAD: tuple[Status, ...] = ("drift", "missing", "unclear")
"""Against a stack, these are not what it promises."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One component of one target.

    Attributes:
        status: agrees or drift; missing (promised, demanded and not there); unclear (there, and
            gives no version); present (no stack promises it); absent.
        version: What was measured; several versions are joined.
        expected: What the stack promises.
        found: Every version with the place where it was measured.
        problems: What did not answer, or not with a version.
        reason: Why there is nothing.
    """

    status: Status
    version: str | None
    expected: str | None
    found: list[dict[str, str]]
    problems: list[str]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One target: its verdicts, or why it gave no answer."""

    answer: Answer
    stack: str | None
    image: str | None
    verdicts: dict[str, Verdict]

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return self.answer.target.name

    @property
    def bad(self) -> list[str]:
        """Components that are not what the stack promises."""
        if self.stack is None:
            return []
        found = self.verdicts.items()
        return [c for c, verdict in found if verdict.expected and verdict.status in BAD]

    @property
    def status(self) -> str:
        """Of the target as a whole."""
        if self.answer.content is None:
            return "no answer"
        if self.stack is None:
            return "no stack"
        return "drift" if self.bad else "agrees"

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        content = self.answer.content or {}
        return {
            "target": self.name,
            "kind": self.answer.target.kind,
            "host": content.get("host"),
            "status": self.status,
            "stack": self.stack,
            "image": self.image,
            "seconds": self.answer.seconds,
            "error": str(self.answer.error) if self.answer.error else None,
            "components": {name: asdict(verdict) for name, verdict in self.verdicts.items()},
        }


@dataclass(frozen=True, kw_only=True)
class Group:
    """Targets that have the same versions of everything, and the same stack."""

    members: tuple[Judged, ...]

    @property
    def names(self) -> list[str]:
        """Of its targets."""
        return [member.name for member in self.members]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Of all of its targets."""
        return self.members[0].verdicts


def judge(
    answer: Answer, promises_of: Callable[[dict[str, Any]], Promises | None], *, strict: bool
) -> Judged:
    """Judge one target.

    Args:
        answer: What it said.
        promises_of: The stack for a target with this identity; None for no stack.
        strict: What the stack promises and is not there counts as drift.
    """
    content = answer.content
    if content is None:
        return Judged(answer=answer, stack=None, image=None, verdicts={})
    identity = content.get("identity") if isinstance(content.get("identity"), dict) else {}
    try:
        promises = promises_of(identity or {})
    except BakehouseError as error:
        silent = Answer(target=answer.target, seconds=answer.seconds, error=error)
        return Judged(answer=silent, stack=None, image=None, verdicts={})
    baked = set() if strict else _baked(identity or {})
    system = next((each["version"] for each in _said(content, "os")["found"]), "")
    verdicts = {}
    for name, component in COMPONENTS.items():
        demanded = strict or any(record in baked for record in component.records_on(system))
        expected = component.promised(promises, system) if promises else None
        verdicts[name] = _verdict(component, _said(content, name), expected, demanded=demanded)
    return Judged(
        answer=answer,
        stack=promises.name if promises else None,
        image=str(identity["image"]) if identity and "image" in identity else None,
        verdicts=verdicts,
    )


def group(judged: Iterable[Judged]) -> list[Group]:
    """Targets with identical versions together, the largest group first."""
    groups: dict[Any, list[Judged]] = {}
    for each in judged:
        if each.answer.content is not None:
            groups.setdefault((each.stack, _signature(each)), []).append(each)
    made = [Group(members=tuple(members)) for members in groups.values()]
    return sorted(made, key=lambda one: -len(one.members))


def differences(one: Group, most: Group) -> dict[str, tuple[str | None, str | None]]:
    """Components in which a group differs from most, with its version and theirs."""
    return {
        name: (verdict.version, most.verdicts[name].version)
        for name, verdict in one.verdicts.items()
        if _seen(verdict) != _seen(most.verdicts[name])
    }


def as_json(judged: Sequence[Judged], groups: Sequence[Group]) -> dict[str, Any]:
    """All of it as plain data; docs name the fields, a test holds them."""
    return {
        "schema": SCHEMA,
        "targets": [each.as_json() for each in judged],
        "groups": [
            {
                "targets": one.names,
                "differs": {
                    name: {"version": version, "most": most}
                    for name, (version, most) in differences(one, groups[0]).items()
                },
            }
            for one in groups
        ],
        "silent": [each.name for each in judged if each.answer.content is None],
    }


def _verdict(
    component: Component, said: dict[str, Any], expected: str | None, *, demanded: bool
) -> Verdict:
    versions = list(dict.fromkeys(each["version"] for each in said["found"]))
    status: Status
    if not versions:
        lacking: Status = "missing" if expected and demanded else "absent"
        status = "unclear" if said["problems"] else lacking
    elif expected is None:
        status = "present"
    else:
        enough = any if component.side_by_side else all
        good = enough(component.agrees(version, expected) for version in versions)
        status = "agrees" if good else "drift"
    return Verdict(
        status=status,
        version=", ".join(versions) or None,
        expected=expected,
        found=said["found"],
        problems=said["problems"],
        reason=said["reason"],
    )


def _said(content: dict[str, Any], name: str) -> dict[str, Any]:
    """The probe's part about one component; whatever came over the wire, in its shape."""
    components = content.get("components")
    part = components.get(name) if isinstance(components, dict) else None
    if not isinstance(part, dict):
        return {"found": [], "problems": ["the probe said nothing of it"], "reason": ""}
    found = [
        {"version": str(each["version"]), "where": str(each["where"])}
        for each in part.get("found") or []
        if isinstance(each, dict) and {"version", "where"} <= set(each)
    ]
    problems = [str(problem) for problem in part.get("problems") or []]
    return {"found": found, "problems": problems, "reason": str(part.get("reason") or "")}


def _baked(identity: dict[str, Any]) -> set[str]:
    components = identity.get("components")
    listed = components if isinstance(components, list) else []
    return {record_of(c) for c in listed if isinstance(c, dict) and "component" in c}


def _signature(each: Judged) -> tuple[Any, ...]:
    return tuple(_seen(verdict) for verdict in each.verdicts.values())


def _seen(verdict: Verdict) -> tuple[str, str | None]:
    return verdict.status, verdict.version
