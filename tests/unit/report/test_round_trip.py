"""report.json reads back as it was written, and not otherwise."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from made_results import result

from bakehouse.checks.result import Result
from bakehouse.report import content
from bakehouse.report.content import Report


def test_a_report_reads_back_as_it_was_written(report: Report) -> None:
    found = content.read(json.dumps(report.as_json()))
    assert found == json.loads(json.dumps(report.as_json()))
    assert [Result(**r) for r in found["results"]] == report.results
    assert found["counts"] == {"pass": 1, "warn": 1, "fail": 0, "skip": 1}
    assert found["packages"]["deb"]["libc6"] == "2.36-9+deb12u10"


def failing(report: Report) -> Report:
    return replace(report, results=[*report.results, result("disk", "fail")])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(schema=2), "schema 1"),
        (lambda c: c.pop("size_bytes"), "size_bytes is missing"),
        (lambda c: c.update(packages=[]), "packages is missing, or of another kind"),
        (lambda c: c.update(verdict="pass"), "verdict and counts"),
        (lambda c: c["counts"].update(fail=0), "verdict and counts"),
        (lambda c: c["results"][-1].update(status="pass"), "verdict and counts"),
        (lambda c: c["results"].append({"id": "x"}), "a result is not one"),
        (lambda c: c["results"].append(7), "a result is not one"),
    ],
)
def test_a_report_that_was_changed_does_not_read(
    report: Report, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    changed = json.loads(json.dumps(failing(report).as_json()))
    content.read(json.dumps(changed))
    change(changed)
    with pytest.raises(ValueError, match=said):
        content.read(json.dumps(changed))
