"""What differs between two reports, host tests' results, and reports that may be kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from bakehouse import cli, engine, host_tests, judge, layout
from bakehouse.errors import InputError
from bakehouse.report.content import Report
from bakehouse.report.difference import difference


@pytest.fixture
def content(report: Report) -> dict[str, Any]:
    return dict(json.loads(json.dumps(report.as_json())))


def test_a_report_does_not_differ_from_itself(content: dict[str, Any]) -> None:
    assert difference(content, content) == {}


def test_added_removed_and_changed_are_told_apart(content: dict[str, Any]) -> None:
    other = json.loads(json.dumps(content))
    other["packages"]["deb"]["libc6"] = "2.36-9+deb12u11"
    del other["packages"]["deb"]["libstdc++6"]
    other["packages"]["pypi"]["attrs"] = "26.1"
    other["results"][0]["status"] = "fail"
    other["identity"]["components"][0]["version"] = "3.11.9"
    assert difference(content, other) == {
        "components": {"python": ("3.11.2", "3.11.9")},
        "checks": {"memory": ("pass", "fail")},
        "packages (deb)": {
            "libc6": ("2.36-9+deb12u10", "2.36-9+deb12u11"),
            "libstdc++6": ("1:12.2.0-14", None),
        },
        "packages (pypi)": {"attrs": (None, "26.1")},
    }


def test_sizes_of_layers_are_compared_in_whole_megabytes(content: dict[str, Any]) -> None:
    def sized(**sizes: int) -> dict[str, Any]:
        layers = [{"name": name, "key": "9" * 64, "bytes": size} for name, size in sizes.items()]
        return {**content, "build": {"image": "cpu", "layers": layers}}

    before = sized(same=30_100_000, more=30_000_000, unknown=0)
    after = sized(same=30_400_000, more=31_600_000, unknown=5_000_000)
    assert difference(before, after) == {
        "layers (MB)": {"more": ("30", "32"), "unknown": (None, "5")}
    }


def run(*arguments: str) -> tuple[int, str]:
    """Exit status and what was printed, errors included."""
    try:
        finished = CliRunner().invoke(cli.application, arguments, catch_exceptions=False)
    except InputError as error:
        return 2, str(error)
    return finished.exit_code, finished.output


def test_diff_reads_folders_and_files(folder: Path) -> None:
    status, text = run("diff", str(folder), str(folder / "report.json"))
    assert (status, text.strip()) == (0, "no difference")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"'])
def test_diff_of_what_is_no_report_is_wrong_input(folder: Path, text: str) -> None:
    (folder / "report.json").write_text(text)
    status, said = run("diff", str(folder), str(folder))
    assert status == 2
    assert "this is not a report" in said
    assert "remedy" in said


@pytest.mark.parametrize("command", [["diff", "cpuu", "cpu"], ["check", "cpuu"]])
def test_an_image_that_does_not_exist_is_wrong_input(command: list[str]) -> None:
    status, said = run(*command)
    assert status == 2
    assert "cpuu" in said
    assert "remedy" in said


def test_a_plain_distribution_promises_nothing() -> None:
    status, said = run("check", "debian-12")
    assert status == 2
    assert "promises nothing" in said


class Image:
    """An image as the engine knows it."""

    def __init__(self, image_id: str) -> None:
        self.id = image_id


@pytest.fixture
def kept(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., bool]:
    """Whether a changed report would be kept."""
    monkeypatch.setattr(layout, "OUT", tmp_path)
    monkeypatch.setattr(engine, "image", lambda _reference: Image(content["image_id"]))
    (tmp_path / "cpu").mkdir()

    def keeps(**changes: Any) -> bool:
        changed = {**content, "judge": judge.judge_digest(), **changes}
        (tmp_path / "cpu" / "report.json").write_text(json.dumps(changed))
        return judge.unchanged("cpu") is not None

    return keeps


def test_a_good_report_of_the_same_image_and_judge_is_kept(kept: Callable[..., bool]) -> None:
    assert kept()


@pytest.mark.parametrize(
    "change",
    [{"verdict": "fail"}, {"image_id": "sha256:0"}, {"judge": "old"}, {"run": {"attempts": []}}],
    ids=str,
)
def test_any_other_report_is_not_kept(kept: Callable[..., bool], change: dict[str, Any]) -> None:
    assert not kept(**change)


HOST_TESTS = """<testsuites><testsuite>
<testcase classname="tests.host.test_base" name="test_limit[docker://bakehouse-0a1b-soft]" time="1">
  <properties><property name="limit" value="unlimited"/></properties></testcase>
<testcase classname="tests.host.test_base" name="test_time[docker://bakehouse-0a1b]" time="0.1">
  <failure message="AssertionError: no&#10;second line">long</failure></testcase>
<testcase classname="tests.host.test_docker" name="test_engine[docker://bakehouse-0a1b]" time="0">
  <skipped message="a container uses the engine of its host"/></testcase>
</testsuite></testsuites>"""


def test_host_tests_become_results_with_names_that_stay(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(HOST_TESTS)
    verdict = host_tests._read(path, host_tests.container("bakehouse-0a1b"))
    assert {r.id: (r.status, r.reason) for r in verdict.results} == {
        "base-test_limit[soft]": ("pass", ""),
        "base-test_time": ("fail", "AssertionError: no"),
        "docker-test_engine": ("skip", "a container uses the engine of its host"),
    }
    assert verdict.facts == {"limit": "unlimited"}


def test_facts_of_a_failed_test_are_not_reported(tmp_path: Path) -> None:
    failing = HOST_TESTS.replace("</properties>", '</properties><failure message="x"/>')
    path = tmp_path / "report.xml"
    path.write_text(failing)
    assert ET.parse(path) is not None
    assert host_tests._read(path, host_tests.container("bakehouse-0a1b")).facts == {}
