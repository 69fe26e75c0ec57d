"""`bakehouse check` and `bakehouse diff` as their users meet them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, command_line
from made_results import IMAGE_ID, result

from bakehouse import judge, layout
from bakehouse.commands import check, diff
from bakehouse.report import provenance
from bakehouse.report.content import Report
from bakehouse.stacks.stack import load_stack


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line in this process: exit status, results, errors."""
    monkeypatch.setattr(layout, "OUT", tmp_path / "out")
    return command_line(monkeypatch, check, diff, judge)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, report: Report) -> Callable[..., None]:
    """Have the judge find these results."""

    def finds(*results: Any) -> None:
        found = replace(report, results=list(results))
        monkeypatch.setattr(judge, "judge", lambda _name, keep: found if not keep else None)

    return finds


def test_the_table_begins_with_what_failed_and_what_to_do(
    run: Run, judged: Callable[..., None]
) -> None:
    judged(
        result("memory"),
        result("base-test_file[/etc/foo]", "fail", reason="a [b] c", remedy="bake [it] again"),
        result("swap", "warn", remedy="swapoff"),
    )
    status, table, errors = run("check", "cpu")
    assert status == 1
    lines = [line for line in table.splitlines() if line.strip()]
    assert [line.split()[0] for line in lines[2:7]] == ["fail", "→", "warn", "→", "pass"]
    assert "base-test_file[/etc/foo]" in lines[2]
    assert "(a [b] c)" in lines[2]
    assert "bake [it] again" in lines[3]
    assert "1 pass, 1 warn, 1 fail, 0 skip" in lines[7]
    assert "1 checks failed: base-test_file[/etc/foo]" in errors
    assert "remedy:" in errors


def test_what_was_skipped_takes_a_line_a_reason(run: Run, judged: Callable[..., None]) -> None:
    judged(
        *(result(f"base-{n}", "skip", group="host", reason="no kernel here") for n in range(16)),
        result("clock", "skip", reason="no [clock] here"),
        *(
            result(f"molecule-{n}", "skip", group="host", reason=f"x {check.SCENARIO_ONLY}")
            for n in range(5)
        ),
        result("memory"),
    )
    status, table, _ = run("check", "cpu")
    assert status == 0
    skipped = [line.split() for line in table.splitlines() if line.startswith("skip")]
    assert skipped == [
        ["skip", "host", "16", "tests", "no", "kernel", "here"],
        ["skip", "node", "clock", "no", "[clock]", "here"],
    ]
    assert "1 pass, 0 warn, 0 fail, 22 skip (5 of them are about molecule's scenarios)" in table


def test_host_tests_that_passed_take_a_line_a_file(run: Run, judged: Callable[..., None]) -> None:
    judged(*(result(str(n), group="host", source="tests/host/test_base.py") for n in range(3)))
    _, table, _ = run("check", "cpu")
    assert [line.split() for line in table.splitlines() if line.startswith("pass")] == [
        ["pass", "host", "test_base.py", "3", "tests"]
    ]


def test_json_is_all_that_is_printed(
    run: Run, judged: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    judged(result("memory"), result("swap", "fail"))
    status, table, _ = run("check", "cpu", "--json")
    assert (status, table) == (1, "")
    assert [r["id"] for r in json.loads(capsys.readouterr().out)] == ["memory", "swap"]


def test_groups_are_for_this_machine_only(run: Run) -> None:
    status, _, errors = run("check", "cpu", "--group", "node")
    assert status == 2
    assert "remedy: leave out --group" in errors


def signed(out: Path, report: Report) -> Path:
    """Provenance of cpu beside a file."""
    folder = out / "cpu"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    keys = out / "keys"
    statement = provenance.statement(
        "cpu", IMAGE_ID, {"report.json": provenance.digest(folder / "report.json")},
        load_stack("cpu"), report.build, report.identity,
    )  # fmt: skip
    (folder / "provenance.json").write_text(provenance.sign(statement, keys))
    (folder / "provenance.pub").write_text(provenance.public_key(keys))
    return folder


def test_provenance_that_holds_is_told(run: Run, report: Report) -> None:
    signed(layout.OUT, report)
    status, said, _ = run("check", "cpu", "--verify-provenance")
    assert (status, said.strip()) == (0, "cpu: signed, and 1 files are what was signed")


def test_provenance_that_does_not_hold_is_an_error(run: Run, report: Report) -> None:
    folder = signed(layout.OUT, report)
    (folder / "report.json").write_text("{ }")
    status, said, errors = run("check", "cpu", "--verify-provenance")
    assert (status, said) == (2, "")
    assert "report.json is not the file that was signed" in errors


@pytest.mark.parametrize("missing", ["provenance.json", "provenance.pub"])
def test_provenance_that_is_not_there_is_told_with_the_command(
    run: Run, report: Report, missing: str
) -> None:
    (signed(layout.OUT, report) / missing).unlink()
    status, _, errors = run("check", "cpu", "--verify-provenance")
    assert status == 2
    assert "cpu has no provenance yet" in errors
    assert "remedy: bakehouse check cpu" in errors


def left(folder: Path, content: dict[str, Any]) -> str:
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(content))
    return str(folder)


def test_diff_names_what_differs_with_brackets_and_all(
    run: Run, report: Report, tmp_path: Path
) -> None:
    before = left(tmp_path / "a", report.as_json())
    names = ("base-test_file[/etc/foo]", "base-test_limit[soft]", "base-test_limit[hard]")
    more = replace(report, results=[*report.results, *map(result, names)], size_bytes=2_000_000)
    after = left(tmp_path / "b", more.as_json())
    status, table, _ = run("diff", before, after)
    assert status == 0
    assert all(name in table for name in names)
    assert "1180.0" in table
    assert "2.0" in table


def test_diff_compares_the_layers_below_too(
    run: Run, report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = {"image": "cpu-ddp", "layers": [{"name": "cpu-ddp", "key": "c" * 64}]}
    content = replace(report, build=case, builds_below=[report.build]).as_json()
    before, after = left(tmp_path / "a", report.as_json()), left(tmp_path / "b", content)
    assert run("diff", before, after, "--json")[0] == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"layers": {"cpu-ddp": [None, "c" * 12]}}


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("cpu-ddp", "bakehouse check cpu-ddp"),
        ("cpu-dpd", "did you mean cpu-ddp?"),
        ("a", "one of: base-gpu, bionemo, bionemo-gpu, cpu, cpu-ddp"),
        ("debian-12", "one of: base-gpu, bionemo, bionemo-gpu, cpu, cpu-ddp"),
    ],
)
def test_diff_without_a_report_says_what_would_help(run: Run, name: str, remedy: str) -> None:
    status, _, errors = run("diff", name, name)
    assert status == 2
    assert f"there is no report of {name}" in errors
    assert f"remedy: {remedy}" in " ".join(errors.split())


@pytest.mark.parametrize("key", ["stack_versions", "size_bytes", "build", "identity"])
def test_diff_of_half_a_report_is_wrong_input(
    run: Run, report: Report, tmp_path: Path, key: str
) -> None:
    content = {k: v for k, v in report.as_json().items() if k != key}
    half = left(tmp_path / "a", content)
    status, _, errors = run("diff", half, half)
    assert status == 2
    assert f"{key} is missing" in errors


@pytest.mark.parametrize(
    "arguments",
    [["check", "nosuch"], ["diff", "a", "b"], ["check", "node", "--group", "nosuch"]],
    ids=" ".join,
)
def test_wrong_input_ends_the_program_with_one_error(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bakehouse", *arguments],
        env={**os.environ, "BAKEHOUSE_OUT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("error:") == 1
    assert "remedy:" in done.stderr
    assert "Traceback" not in done.stderr
