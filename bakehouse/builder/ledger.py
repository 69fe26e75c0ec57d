"""What past layers were made of: answers why a layer must run again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bakehouse import layout
from bakehouse.builder.plan import Layer


def record(image: str, layer: Layer, below: str, seconds: float) -> None:
    """Remember a layer that was built."""
    path = _path(image, layer.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {**layer.inputs(below), "key": layer.key, "seconds": seconds}
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content, sort_keys=True), encoding="utf-8")
    temporary.replace(path)


def seconds(image: str, layer: Layer) -> float | None:
    """How long this very layer took when it was last built."""
    past = _read(image, layer.name)
    return float(past["seconds"]) if past and past.get("key") == layer.key else None


def why(image: str, layer: Layer, below: str) -> str:
    """Why a layer that BuildKit does not have must run: the inputs that changed."""
    past = _read(image, layer.name)
    if past is None:
        return "never built here"
    present = layer.inputs(below)
    reasons = _changes("", past["files"], present["files"])
    reasons += [
        f"variable {change}" for change in _changes("", past["variables"], present["variables"])
    ]
    if past["mechanism"] != present["mechanism"] or past["wheels"] != present["wheels"]:
        reasons.append("the builder itself changed")
    if not reasons and past["below"] != below:
        reasons = ["a layer below changed"]
    return "; ".join(reasons) or "the engine no longer has it"


def _changes(prefix: str, past: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    names = sorted({*past, *present})
    return [
        f"{prefix}{name} {_change(past.get(name), present.get(name))}"
        for name in names
        if past.get(name) != present.get(name)
    ]


def _change(past: Any, present: Any) -> str:
    if past is None:
        return "is new"
    if present is None:
        return "is gone"
    short = all(isinstance(v, str | int | bool) and len(str(v)) < 40 for v in (past, present))
    return f"changed from {past} to {present}" if short else "changed"


def _path(image: str, layer: str) -> Path:
    return layout.STATE / "layers" / image / f"{layer}.json"


def _read(image: str, layer: str) -> dict[str, Any] | None:
    try:
        past: dict[str, Any] = json.loads(_path(image, layer).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return past
