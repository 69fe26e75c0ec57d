"""The report as one HTML page that needs nothing else."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bakehouse.checks.result import GROUPS, Result
from bakehouse.report import curve
from bakehouse.report.content import Report

ORDER = ("host", *GROUPS)
TITLES = {
    "host": "Host tests of the roles",
    "environment": "Environment",
    "versions": "Versions",
    "node": "Node",
    "collectives": "Collectives",
    "training": "Training",
    "hygiene": "Hygiene",
}


def render(report: Report) -> str:
    """Render a report; everything that comes from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("bakehouse.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = _size
    environment.filters["when"] = _when
    return environment.get_template("page.html.j2").render(
        report=report,
        groups=_groups(report.results),
        layers=_layers(report),
        versions=_versions(report),
        curve=curve.curve(report.run),
        frame=curve,
        final=_final(report.run),
    )


def _groups(results: list[Result]) -> list[tuple[str, list[Result]]]:
    by_group: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_group[result.group].append(result)
    order = {"fail": 0, "warn": 1, "pass": 2, "skip": 3}
    return [
        (TITLES[group], sorted(by_group[group], key=lambda r: order[r.status]))
        for group in ORDER
        if group in by_group
    ]


def _layers(report: Report) -> list[dict[str, Any]]:
    layers = [
        {**layer, "image": build["image"]}
        for build in (*report.builds_below, report.build)
        for layer in build.get("layers", [])
    ]
    times = [float(layer.get("built_seconds") or layer["seconds"]) for layer in layers]
    longest = max([*times, 0.001])
    return [
        {**layer, "time": time, "width": round(100 * time / longest, 1)}
        for layer, time in zip(layers, times, strict=True)
    ]


def _versions(report: Report) -> list[dict[str, str]]:
    observed = {c["component"]: c["version"] for c in (report.identity or {}).get("components", [])}
    return [
        {
            "component": name,
            "promised": report.stack_versions.get(f"{name}_release", "–"),
            "observed": observed.get(name, "–"),
            "tested": report.facts.get(name, "–"),
        }
        for name in sorted({*observed, *report.facts})
    ]


def _final(run: dict[str, Any] | None) -> dict[str, Any] | None:
    attempts = (run or {}).get("attempts") or [{"records": []}]
    found = [r for r in attempts[-1]["records"] if r["event"] == "final"]
    return found[-1] if found else None


def _when(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M %Z")


def _size(value: float) -> str:
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"
