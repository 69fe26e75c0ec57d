"""What the judge has found, as whoever started Packer reads it."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bakehouse import judge
from bakehouse.builder.buildkit import Step
from bakehouse.checks.result import Result
from bakehouse.errors import BuildError
from bakehouse.machines import judging, written
from bakehouse.report import inventory
from bakehouse.report.content import Report
from bakehouse.stacks.stack import Stack

_MOST = 3


def environment(image: str, stack: str, since: float, file: Path) -> dict[str, str]:
    """What the judge, which Packer starts, is told by us."""
    return {
        judging.IMAGE: image,
        judging.STACK: stack,
        judging.SINCE: f"{since:.3f}",
        judging.OUT: str(file),
    }


def findings(file: Path) -> dict[str, Any] | None:
    """What the judge wrote; None if it did not come to that."""
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def results(found: Mapping[str, Any]) -> list[Result]:
    """The results among the findings."""
    return [Result(**result) for result in found["results"]]


def report(
    found: Mapping[str, Any],
    *,
    image: str,
    image_id: str,
    stack: Stack,
    build: dict[str, Any],
    judged: Sequence[Result] | None = None,
) -> Report:
    """What is known of an image, from the judge's findings.

    Args:
        found: The findings.
        image: Its name.
        image_id: Docker's, or AWS's.
        stack: What it was built from.
        build: How it was built, as in layers.json.
        judged: Results in place of the judge's own.
    """
    return Report(
        image=image,
        image_id=image_id,
        size_bytes=found["used_bytes"],
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        judge=judge.judge_digest(),
        identity=found["identity"],
        stack_versions=stack.versions,
        results=list(results(found) if judged is None else judged),
        facts=found["facts"],
        inventory=inventory.from_json(found["inventory"]),
        build=build,
    )


def sizes(found: Mapping[str, Any], steps: Mapping[str, Step]) -> dict[str, int]:
    """Bytes that each role wrote, as they stood when the machine was judged."""
    return written.by_role(found["written"]["at"], steps)


def refusal(image: str, file: Path, log: Path, steps: Mapping[str, Step]) -> BuildError | None:
    """Why there is no image; None if the judge found no fault, or did not come to that.

    Args:
        image: Its name.
        file: The findings.
        log: All that Packer said.
        steps: The roles that ran.
    """
    found = findings(file)
    if found is None:
        return None
    judged = results(found)
    failed = [result for result in judged if result.status == "fail"]
    if not failed and any(result.status == "pass" for result in judged):
        return None
    lines = [f"{len(failed)} of {len(judged)} checks failed" if failed else "nothing passed"]
    for result in failed:
        lines += [f"{result.id}: {result.reason}", f"  remedy: {result.remedy}"]
    lines += _most({result.id for result in failed}, found, steps)
    return BuildError(
        "the machine was judged, and there is no image:\n" + "\n".join(lines),
        where=image,
        remedy=f"correct it and build again; all findings are in {file}, what Packer said in {log}",
    )


def _most(failed: set[str], found: Mapping[str, Any], steps: Mapping[str, Step]) -> list[str]:
    """For a budget that is exceeded, the roles that took most of it."""
    lines = []
    if judging.SIZE in failed:
        told = _largest({name: size / 1e6 for name, size in sizes(found, steps).items()})
        lines.append(f"most was written by: {', '.join(f'{n} {v:.0f} MB' for n, v in told)}")
    if judging.TIME in failed:
        told = _largest({name: step.seconds for name, step in steps.items()})
        lines.append(f"most time was taken by: {', '.join(f'{n} {v:.1f} s' for n, v in told)}")
    return lines


def _largest(values: Mapping[str, float]) -> Sequence[tuple[str, float]]:
    return sorted(values.items(), key=lambda item: item[1], reverse=True)[:_MOST]
