"""What past layers were made of: answers why a layer must run again, and how long it took."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bakehouse import layout
from bakehouse.builder.plan import Layer

BELOW_CHANGED = "a layer below changed"
_KEPT_TIMES = 30


def record(image: str, layer: Layer, below: str, seconds: float) -> None:
    """Remember a layer that was built on the layer with the key `below`."""
    path = _path(image, layer.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    times = {**_read(image, layer.name).get("seconds", {}), layer.key: seconds}
    kept = dict(list(times.items())[-_KEPT_TIMES:])
    temporary = path.with_suffix(".part")
    content = {"inputs": layer.inputs(below), "seconds": kept}
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)


def seconds(image: str, layer: Layer) -> float:
    """How long this very layer took when it last ran; 0 if that is not known."""
    return float(_read(image, layer.name).get("seconds", {}).get(layer.key, 0.0))


def newest_seconds() -> dict[str, float]:
    """How long each role took when it last ran on this machine, in whatever image, by its name."""
    newest: dict[str, tuple[float, float]] = {}
    for path in (layout.STATE / "layers").glob("*/*.json"):
        times = list(_read(path.parent.name, path.stem).get("seconds", {}).values())
        moment = path.stat().st_mtime
        if times and moment > newest.get(path.stem, (0.0, 0.0))[0]:
            newest[path.stem] = (moment, float(times[-1]))
    return {name: seconds for name, (_, seconds) in newest.items()}


def why(image: str, layer: Layer, below: str) -> str:
    """Why a layer that BuildKit does not have must run: the inputs that changed."""
    past = _read(image, layer.name).get("inputs")
    if past is None:
        return "never built here"
    present = layer.inputs(below)
    reasons = _changes("", past["files"], present["files"])
    reasons += _changes("variable ", past["variables"], present["variables"])
    if past["wheels"] != present["wheels"]:
        reasons.append("the records whose wheels it uses changed")
    if not reasons and past["below"] != below:
        reasons = [BELOW_CHANGED]
    return "; ".join(reasons) or "the engine no longer has it"


def _changes(prefix: str, past: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    names = sorted({*past, *present})
    return [
        f"{prefix}{name} {_change(past.get(name), present.get(name), is_file=not prefix)}"
        for name in names
        if past.get(name) != present.get(name)
    ]


def _change(past: Any, present: Any, *, is_file: bool) -> str:
    if past is None:
        return "is new"
    if present is None:
        return "is gone"
    if is_file:
        return "changed"
    if isinstance(past, dict) and isinstance(present, dict):
        return ", ".join(_changes(".", past, present)).removeprefix(".")
    short = all(isinstance(v, str | int | bool) and len(str(v)) < 40 for v in (past, present))
    return f"changed from {past} to {present}" if short else "changed"


def _path(image: str, layer: str) -> Path:
    return layout.STATE / "layers" / image / f"{layer}.json"


def _read(image: str, layer: str) -> dict[str, Any]:
    """What is remembered; nothing if that is unreadable, since it only costs an explanation."""
    try:
        past: dict[str, Any] = json.loads(_path(image, layer).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return past if "inputs" in past else {}
