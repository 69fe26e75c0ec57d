"""Is what is installed what the stack says: components when baked, and as they are now."""

from __future__ import annotations

import re
from typing import Any

from bakehouse.checks.host import Host
from bakehouse.checks.registry import check
from bakehouse.checks.result import Outcome, judged, skipped


def same_version(observed: str, promised: str) -> bool:
    """Whether `promised` is `observed`, or a prefix of it that ends at a separator."""
    return observed == promised or re.match(re.escape(promised) + r"[.+~-]", observed) is not None


def record_of(component: dict[str, Any]) -> str:
    """Name of the stack's record that a component was held against when it was baked."""
    return str(component.get("record") or f"{component['component']}_release")


@check("component", "versions", "Component is of the stack's version")
def components(host: Host) -> list[Outcome] | Outcome:
    """Every recorded component against the stack in the identity file."""
    identity = host.identity()
    if identity is None:
        return skipped("there is no identity file")
    versions = identity["stack"]["versions"]
    found = [
        _compared(component, versions[record_of(component)], identity)
        for component in identity["components"]
        if record_of(component) in versions
    ]
    return found or Outcome(
        "fail", 0, "at least one", "role image_info", "no component of the stack is installed",
        "bake the image again",
    )  # fmt: skip


@check("torch-version", "versions", "PyTorch as it imports is of the stack's version")
def torch_version(host: Host) -> Outcome:
    """PyTorch measured now, which an upgrade after the bake would show."""
    identity, facts = host.identity(), host.torch()
    promised = (identity or {}).get("stack", {}).get("versions", {}).get("pytorch_release")
    if promised is None:
        return skipped("the identity file promises no PyTorch")
    if "error" in facts:
        return skipped("PyTorch does not import")
    return judged(
        same_version(str(facts["version"]), promised),
        facts["version"],
        promised,
        f"stack {(identity or {})['stack']['name']}",
        reason="it was changed after the bake",
        remedy="bake the image again",
    )


def _compared(component: dict[str, Any], promised: str, identity: dict[str, Any]) -> Outcome:
    outcome = judged(
        same_version(str(component["version"]), promised),
        component["version"],
        promised,
        f"stack {identity['stack']['name']}",
        reason="a pinned version that has vanished is replaced without a word",
        remedy="bump the stack to a version that exists, or bake from a mirror that has it",
    )
    return Outcome(**{**outcome.__dict__, "suffix": component["component"]})
