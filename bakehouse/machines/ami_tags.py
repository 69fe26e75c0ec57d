"""The tags that a bake writes on an AMI and on its snapshots; what lacks IMAGE is not ours."""

from collections.abc import Mapping
from datetime import UTC, datetime

IMAGE = "bakehouse:image"
"""Name in images.yml. An AMI or a snapshot without it is never touched."""
BUILD = "bakehouse:build"
"""Build id: the same on copies in other regions."""
STACK = "bakehouse:stack"
"""`gpu-cuda13@sha256:…`."""
COMMIT = "bakehouse:commit"
SOURCE_AMI = "bakehouse:source-ami"
CREATED = "bakehouse:created"
"""ISO 8601, UTC: 2026-10-05T12:00:00Z."""
DISTRIBUTION = "bakehouse:distribution"
"""ubuntu-24.04."""
ARCHITECTURE = "bakehouse:architecture"
"""x86_64 or arm64."""
CHECKS = "bakehouse:checks"
PASSED = "passed"
"""The only value of CHECKS with which an AMI is promoted."""
COMPONENT = "bakehouse:component:"
"""Prefix: one tag per component, its value the version."""
CHANNEL = "bakehouse:channel"
"""Not of the bake: `bakehouse ami promote` sets and moves it."""

AT_BUILD = (
    IMAGE, BUILD, STACK, COMMIT, SOURCE_AMI, CREATED, DISTRIBUTION, ARCHITECTURE, CHECKS,
)  # fmt: skip
"""All that a bake writes, but for the components."""

MOST = 50
"""EC2 takes no more tags on one resource; promotion needs one of them."""


def component(name: str) -> str:
    """The tag of a component."""
    return f"{COMPONENT}{name}"


def components(tags: Mapping[str, str]) -> dict[str, str]:
    """Version by component, sorted by name."""
    return {
        key.removeprefix(COMPONENT): value
        for key, value in sorted(tags.items())
        if key.startswith(COMPONENT)
    }


def created(tags: Mapping[str, str]) -> datetime | None:
    """When the bake was, with its zone; None where the tag is missing or is no date."""
    try:
        moment = datetime.fromisoformat(tags.get(CREATED, ""))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
