"""The report as one HTML page that needs nothing else."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bakehouse.checks.result import GROUPS, Result
from bakehouse.checks.versions import record_of
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
RANK = {"fail": 0, "warn": 1, "pass": 2, "skip": 3}
KINDS = {
    "pypi": "Python packages",
    "generic": "Components from archives",
    "deb": "Packages of the distribution",
    "rpm": "Packages of the distribution",
}
FILES = {
    "report.json": "this report as data",
    "report.xml": "its results as JUnit XML",
    "sbom.cdx.json": "bill of materials, CycloneDX",
    "sbom.spdx.json": "bill of materials, SPDX",
    "provenance.json": "what it was made from, signed",
    "provenance.pub": "the key of the signature",
}
UNKNOWN = "–"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Results of one group: those that were looked at, and what was skipped, by reason."""

    title: str
    seen: list[Result]
    skipped: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def count(self, status: str) -> int:
        """How many were looked at with this status."""
        return sum(result.status == status for result in self.seen)


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
    layers = _layers(report)
    attention = [r for r in report.results if r.status in {"fail", "warn"}]
    text = environment.get_template("page.html.j2").render(
        report=report,
        origin=_origin(report),
        attention=sorted(attention, key=lambda r: RANK[r.status]),
        groups=_groups(report.results),
        layers=layers,
        seconds=sum(layer["time"] for layer in layers),
        bytes=sum(layer["bytes"] or 0 for layer in layers),
        versions=_versions(report),
        packages=_packages(report),
        files=FILES,
        curve=curve.curve(report.run),
        frame=curve,
        numbers=_numbers(report.run or {}),
    )
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _origin(report: Report) -> dict[str, str]:
    """What the image says of itself; an image that says it badly has a report, too."""
    identity = report.identity or {}
    stack, system = ({**(identity.get(k) or {})} for k in ("stack", "os"))
    return {
        "stack": str(stack.get("name", UNKNOWN)),
        "digest": str(stack.get("digest", UNKNOWN)),
        "commit": str(identity.get("commit", UNKNOWN)),
        "system": " ".join(str(system.get(key, "")) for key in ("id", "version_id")).strip()
        or UNKNOWN,
        "architecture": str(system.get("architecture", UNKNOWN)),
    }


def _groups(results: list[Result]) -> list[Group]:
    groups = []
    for name in ORDER:
        mine = [result for result in results if result.group == name]
        seen = [result for result in mine if result.status != "skip"]
        group = Group(title=TITLES[name], seen=sorted(seen, key=lambda r: RANK[r.status]))
        for result in mine:
            if result.status == "skip":
                group.skipped[result.reason].append(result.title)
        if mine:
            groups.append(group)
    return groups


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
    components = (report.identity or {}).get("components", [])
    observed = {str(c.get("component")): str(c.get("version", UNKNOWN)) for c in components}
    records = {str(c.get("component")): record_of(c) for c in components if "component" in c}
    return [
        {
            "component": name,
            "promised": report.stack_versions.get(records.get(name, f"{name}_release"), UNKNOWN),
            "observed": observed.get(name, UNKNOWN),
            "tested": report.facts.get(name, UNKNOWN),
        }
        for name in sorted({*observed, *report.facts})
    ]


def _packages(report: Report) -> dict[str, list[tuple[str, str]]]:
    """Names and versions by the heading that they stand under."""
    found: dict[str, list[tuple[str, str]]] = {}
    for kind, heading in KINDS.items():
        listed = [(p.name, p.version) for p in report.inventory.packages if p.kind == kind]
        if listed:
            found[heading] = listed
    return found


def _numbers(run: dict[str, Any]) -> list[tuple[str, str]]:
    """What one wants to know of a run first, each with what it is."""
    attempts = run.get("attempts") or [{"records": []}]
    final: dict[str, Any] = next(
        (r for r in reversed(attempts[-1]["records"]) if r["event"] == "final"), {}
    )
    promised = run.get("expected", {}).get("accuracy")
    found = []
    if "accuracy" in final:
        of = f"accuracy on {final.get('held_out', UNKNOWN)} held-out samples"
        of += f", at least {100 * promised:g} % promised" if promised is not None else ""
        found.append((f"{100 * final['accuracy']:.1f} %", of))
    if "loss" in final:
        found.append((f"{final['loss']:.3f}", "mean loss on held-out samples"))
    found += [
        (f"{final[f'{unit}_per_s']:.0f}", f"{unit} per second, mean of the last attempt")
        for unit in ("tokens", "samples")
        if f"{unit}_per_s" in final
    ]
    if "nodes" in run:
        found.append((f"{run['nodes']} × {run['processes_per_node']}", "nodes × processes"))
        found.append((str(len(run["attempts"])), "attempts"))
        found.append((f"{run['seconds']:.0f} s", "in all"))
    return found


def _when(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M %Z")


def _size(value: float) -> str:
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"
