"""HTML, JUnit and Prometheus say what the results say, whatever text is in them."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from made_results import result
from prometheus_client.parser import text_string_to_metric_families

from bakehouse.checks import outputs
from bakehouse.checks.result import STATUSES
from bakehouse.report import curve, page
from bakehouse.report.content import Report

HOSTILE = "<script>alert(1)</script>\x1b[31m\x00\"'&]]>"


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.words += data


def hostile(report: Report) -> Report:
    """Hostile text in every place that comes from outside."""
    found = result(HOSTILE, "fail", title=HOSTILE, measured=HOSTILE, reason=HOSTILE, remedy=HOSTILE)
    identity = json.loads(json.dumps(report.identity))
    identity["components"] = [{"component": HOSTILE, "version": HOSTILE}]
    identity["commit"] = identity["stack"]["name"] = HOSTILE
    build = {"image": HOSTILE, "build": HOSTILE}
    layer = {"name": HOSTILE, "key": HOSTILE, "seconds": 1.0, "bytes": 1}
    return replace(report, results=[found], identity=identity, build={**build, "layers": [layer]})


def test_nothing_of_what_is_shown_becomes_code(report: Report) -> None:
    before, after = Page(page.render(report)), Page(page.render(hostile(report)))
    assert "script" not in after.tags
    assert "alert(1)" in after.words
    assert "on" not in {name[:2] for name in after.tags}
    assert set(after.addresses) == set(before.addresses)


def test_the_page_needs_nothing_else(report: Report) -> None:
    found = Page(page.render(report))
    assert all(":" not in address and "//" not in address for address in found.addresses)
    assert not {"link", "img", "iframe"} & set(found.tags)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [("fail", "Not as promised"), ("warn", "All that was checked holds")],
)
def test_the_verdict_is_the_results(report: Report, status: str, verdict: str) -> None:
    assert verdict in page.render(replace(report, results=[result("memory", status)]))


def test_an_image_without_identity_or_layers_has_a_page(report: Report) -> None:
    text = page.render(replace(report, identity=None, build={"image": "cpu"}))
    assert "the image has no identity file" in text


def test_a_component_stands_beside_the_record_it_was_baked_from(report: Report) -> None:
    baked = {"component": "python", "version": "3.9", "record": "python_elsewhere_release"}
    told = replace(
        report,
        identity={**(report.identity or {}), "components": [baked]},
        stack_versions={"python_release": "3.11", "python_elsewhere_release": "3.9.promised"},
    )
    assert "3.9.promised" in page.render(told)


def run_record(*losses: float) -> dict[str, Any]:
    steps = [{"event": "step", "step": n, "loss": x} for n, x in enumerate(losses, 1)]
    killed = {"killed": {"node": 1}, "records": steps[:3]}
    resumed = {"killed": None, "records": [{"event": "resume", "step": 2}, *steps[2:]]}
    return {"attempts": [killed, resumed]}


def test_the_curve_has_a_line_an_attempt_and_marks_kill_and_resume() -> None:
    found = curve.curve(run_record(4.0, 3.0, 2.0, 1.0))
    assert found is not None
    assert [len(line.split()) for line in found.lines] == [3, 2]
    assert {mark.kind: mark.text for mark in found.marks} == {
        "kill": "node 1 killed",
        "resume": "resumed",
    }
    points = [tuple(map(float, point.split(","))) for point in found.lines[0].split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[0][1] < points[-1][1], "a loss that falls goes down the page"
    assert all(0 <= x <= curve.WIDTH and 0 <= y <= curve.HEIGHT for x, y in points)


@pytest.mark.parametrize("run", [None, {}, run_record(1.0)])
def test_without_two_points_there_is_no_curve(run: dict[str, Any] | None) -> None:
    assert curve.curve(run) is None


def test_junit_is_well_formed_and_counts_what_failed() -> None:
    results = [result(HOSTILE, "fail", reason=HOSTILE), result("b", "skip"), result("c")]
    suite = ET.fromstring(outputs.as_junit(results))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "<script>" in str(failure.get("message"))


def test_prometheus_reads_our_metrics() -> None:
    results = [
        result('a"\\\n', "fail"),
        result("b", "skip", measured=7),
        result("c", measured="3.5 GiB"),
    ]
    families = {f.name: f for f in text_string_to_metric_families(outputs.as_prometheus(results))}
    statuses = families["bakehouse_check_status"].samples
    assert len(statuses) == len(results) * len(STATUSES)
    assert sum(sample.value for sample in statuses) == len(results)
    measured = {s.labels["check"]: s.value for s in families["bakehouse_check_measured"].samples}
    assert measured == {'a"\\\n': 1.0, "c": 3.5}


def test_the_table_and_the_plain_page_tell_the_remedy() -> None:
    found = [result("a", "fail", remedy="light the oven"), result("b", "skip")]
    assert "→ light the oven" in outputs.as_table(found)
    assert "1 fail, 1 skip" in outputs.as_table(found)
    assert "script" not in Page(outputs.as_html([result("a", "fail", reason=HOSTILE)])).tags
