"""All images planned together: what they share, and what a change would have to run again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from bakehouse.builder import plan
from bakehouse.builder.inputs import stack_of
from bakehouse.images import Image, load_images

FIRST = "what it starts from"
"""In the place of a role: the source AMI, the image below, or the stack is another."""


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role of an image, as digests of all that decides it.

    Attributes:
        name: Of the role, or of the test case.
        key: Over its inputs and all below it: equal keys are equal results.
        inputs: Digest by file, and by variable.
    """

    name: str
    key: str
    inputs: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image of the catalogue.

    Attributes:
        image: Its name.
        kind: As in images.yml; `ami` for a machine that is made as an AMI.
        stack: Name of its stack.
        start: What it starts from: an image, or a platform of source AMIs.
        roles: In order.
    """

    image: str
    kind: str
    stack: str
    start: str
    roles: list[Role]


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Images that begin with the same roles on the same start."""

    images: list[str]
    roles: list[str]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a change does to an image.

    Attributes:
        image: Its name.
        first: The first role that must run again; FIRST, or empty if none must.
        reasons: What is another there.
        again: Roles that must run, in order.
    """

    image: str
    first: str
    reasons: list[str]
    again: list[str]


def entries(names: Sequence[str] = ()) -> list[Entry]:
    """Images planned without looking at what is built; all but plain distributions by default.

    Raises:
        InputError: A file of the repository is wrong.
    """
    images = load_images()
    chosen = [images[name] for name in names] if names else list(images.values())
    return [_entry(image, images) for image in chosen if image.kind != "rootfs"]


def shared(catalogue: Sequence[Entry]) -> list[Shared]:
    """Every set of images that begins alike, with the longest such beginning; the most first."""
    found: dict[tuple[str, ...], list[str]] = {}
    ends: dict[str, int] = {}
    for entry in catalogue:
        for depth, role in enumerate(entry.roles, start=1):
            ends[role.key] = depth
    for key, depth in ends.items():
        images = tuple(e.image for e in catalogue if any(r.key == key for r in e.roles))
        if len(images) > 1 and depth > len(found.get(images, [])):
            owner = next(e for e in catalogue if e.image == images[0])
            found[images] = [role.name for role in owner.roles[:depth]]
    groups = [Shared(images=list(images), roles=roles) for images, roles in found.items()]
    return sorted(groups, key=lambda group: (-len(group.roles), group.images))


def changes(before: Sequence[Entry], after: Sequence[Entry]) -> list[Change]:
    """What must run again of each image that is there now."""
    past = {entry.image: entry for entry in before}
    return [_change(past.get(entry.image), entry) for entry in after]


def _change(before: Entry | None, after: Entry) -> Change:
    names = [role.name for role in after.roles]
    if before is None:
        return Change(image=after.image, first=FIRST, reasons=["is new"], again=names)
    pairs = zip(before.roles, after.roles, strict=False)
    same = len(list(takewhile(lambda pair: pair[0].key == pair[1].key, pairs)))
    if same == len(names) == len(before.roles):
        return Change(image=after.image, first="", reasons=[], again=[])
    if same == len(names):
        gone = ", ".join(role.name for role in before.roles[same:])
        return Change(image=after.image, first=FIRST, reasons=[f"without {gone}"], again=names)
    present = after.roles[same]
    past = before.roles[same] if same < len(before.roles) else None
    if past is None or past.name != present.name:
        reasons = [f"the role {present.name} is new there"]
    else:
        reasons = _differences(past.inputs, present.inputs)
    if not reasons:
        return Change(
            image=after.image,
            first=FIRST,
            reasons=[f"{before.start}, {before.stack}"],
            again=names,
        )
    return Change(image=after.image, first=present.name, reasons=reasons, again=names[same:])


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _entry(image: Image, images: Mapping[str, Image]) -> Entry:
    stack = stack_of(image)
    if image.kind == "case":
        below = _entry(images[str(image.parent)], images)
        top = plan.case_layer(str(image.case), stack, below.roles[-1].key if below.roles else "")
        roles, start = [*below.roles, _role(top)], str(image.parent)
    else:
        start = f"AMI {image.ami.source}" if image.ami else str(image.parent)
        base = hashlib.sha256(start.encode()).hexdigest()
        roles = [_role(layer) for layer in plan.unbuilt_layers(image, stack, base)]
    kind = "ami" if image.ami else image.kind
    return Entry(image=image.name, kind=kind, stack=stack.name, start=start, roles=roles)


def _role(layer: plan.Layer) -> Role:
    variables = {f"variable {name}": _digest(value) for name, value in layer.variables.items()}
    return Role(name=layer.name, key=layer.key, inputs={**layer.digests, **variables})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
