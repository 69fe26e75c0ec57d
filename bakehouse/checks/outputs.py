"""Results as a table, JSON, JUnit XML, Prometheus text and HTML."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from xml.etree import ElementTree

from bakehouse.checks.result import STATUSES, Result, counts

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)(?:\s|$)")


def as_json(results: list[Result], identity: dict[str, Any] | None) -> str:
    """One object: identity, counts, results."""
    content = {
        "schema": 1,
        "identity": identity,
        "counts": counts(results),
        "results": [result.as_json() for result in results],
    }
    return json.dumps(content, indent=1) + "\n"


def as_table(results: list[Result]) -> str:
    """One line a result, for a terminal."""
    lines = []
    for result in results:
        detail = str(result.measured) if result.measured is not None else ""
        if result.status != "pass":
            detail = f"{detail} ({result.reason})" if detail else result.reason
        detail = " ".join(detail.split())
        lines.append(f"{result.status:<5} {result.group:<12} {result.id:<36} {detail}")
        if result.status in ("fail", "warn") and result.remedy:
            lines.append(f"{'':<5} {'':<12} {'':<36} → {result.remedy}")
    total = counts(results)
    lines.append(", ".join(f"{total[status]} {status}" for status in STATUSES))
    return "\n".join(lines) + "\n"


def as_junit(results: list[Result]) -> str:
    """JUnit XML; a warning passes and says so in its output."""
    total = counts(results)
    suite = ElementTree.Element(
        "testsuite",
        name="bakehouse",
        tests=str(len(results)),
        failures=str(total["fail"]),
        skipped=str(total["skip"]),
        errors="0",
        time=f"{sum(r.seconds for r in results):.3f}",
    )
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"bakehouse.{result.group}",
            name=_printable(result.id),
            time=f"{result.seconds:.3f}",
        )
        text = _printable(
            f"measured: {result.measured}\nexpected: {result.expected}\nremedy: {result.remedy}"
        )
        reason = _printable(result.reason)
        if result.status == "fail":
            ElementTree.SubElement(case, "failure", message=reason).text = text
        elif result.status == "skip":
            ElementTree.SubElement(case, "skipped", message=reason)
        elif result.status == "warn":
            ElementTree.SubElement(case, "system-out").text = f"warning: {reason}\n{text}"
    ElementTree.indent(suite)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, "unicode") + "\n"
    )


def as_prometheus(results: list[Result]) -> str:
    """Prometheus' text format, for node_exporter's textfile collector."""
    lines = [
        "# HELP bakehouse_check_status Whether a check has this status (1) or not (0).",
        "# TYPE bakehouse_check_status gauge",
    ]
    for result in results:
        for status in STATUSES:
            labels = f'check="{_label(result.id)}",group="{result.group}",status="{status}"'
            lines.append(f"bakehouse_check_status{{{labels}}} {int(result.status == status)}")
    lines += [
        "# HELP bakehouse_check_measured What a check measured, where it is a number.",
        "# TYPE bakehouse_check_measured gauge",
    ]
    for result in results:
        number = _NUMBER.match(str(result.measured))
        if number and result.status != "skip":
            lines.append(f'bakehouse_check_measured{{check="{_label(result.id)}"}} {number[1]}')
    return "\n".join(lines) + "\n"


def as_html(results: list[Result]) -> str:
    """A plain page; the full report is made where the image is built."""
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in _cells(r)) + "</tr>\n"
        for r in results
    )
    head = "".join(
        f"<th>{t}</th>" for t in ("status", "group", "check", "measured", "expected", "why")
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Bakehouse checks</title>\n"
        "<style>body{font:15px sans-serif;margin:2em}td,th{padding:.3em .8em;text-align:left;"
        "border-bottom:1px solid #ccc}</style>\n<h1>Bakehouse checks</h1>\n"
        f"<table><tr>{head}</tr>\n{rows}</table></html>\n"
    )


def _cells(result: Result) -> tuple[Any, ...]:
    return (
        result.status, result.group, result.title, result.measured, result.expected,
        " → ".join(t for t in (result.reason, result.remedy) if t),
    )  # fmt: skip


def _printable(text: str) -> str:
    """Text without the characters that XML cannot hold, such as those that colour a terminal."""
    return _NOT_XML.sub("", text)


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
