"""What differs between two reports: components, packages, layers and their sizes, checks."""

from typing import Any

Change = tuple[str | None, str | None]


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, Change]]:
    """Compare two report.json; per part, the names that differ with both values.

    A value is None where only the other side has the name.
    """
    parts = {
        "components": (_components(before), _components(after)),
        "stack": (before["stack_versions"], after["stack_versions"]),
        "layers": (_layers(before), _layers(after)),
        "layers (MB)": (_layer_sizes(before), _layer_sizes(after)),
        "size": ({"MB": _megabytes(before)}, {"MB": _megabytes(after)}),
        "checks": (_checks(before), _checks(after)),
    }
    for kind in sorted({*before["packages"], *after["packages"]}):
        parts[f"packages ({kind})"] = (
            before["packages"].get(kind, {}),
            after["packages"].get(kind, {}),
        )
    found = {part: changes(*sides) for part, sides in parts.items()}
    return {part: differing for part, differing in found.items() if differing}


def changes(before: dict[str, str], after: dict[str, str]) -> dict[str, Change]:
    """The names whose values differ, sorted; None where a side has no such name."""
    return {
        name: (before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }


def _components(report: dict[str, Any]) -> dict[str, str]:
    components = (report["identity"] or {}).get("components", [])
    return {c["component"]: c["version"] for c in components if {"component", "version"} <= set(c)}


def _layers(report: dict[str, Any]) -> dict[str, str]:
    """Keys of all layers, those of the images below too: the same key is the same layer."""
    return {layer["name"]: layer["key"][:12] for layer in _all_layers(report)}


def _layer_sizes(report: dict[str, Any]) -> dict[str, str]:
    """In whole MB: less differs from build to build, with times and logs."""
    sizes = {layer["name"]: layer.get("bytes") for layer in _all_layers(report)}
    return {name: f"{size / 1e6:.0f}" for name, size in sizes.items() if size}


def _all_layers(report: dict[str, Any]) -> list[dict[str, Any]]:
    builds = (*report.get("builds_below", []), report["build"])
    return [layer for build in builds for layer in build.get("layers", [])]


def _megabytes(report: dict[str, Any]) -> str:
    return f"{report['size_bytes'] / 1e6:.1f}"


def _checks(report: dict[str, Any]) -> dict[str, str]:
    return {result["id"]: result["status"] for result in report["results"]}
