"""Host tests that are missing, hang, are cut off or say nothing: never a pass."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bakehouse import host_tests
from bakehouse.checks.result import Result
from bakehouse.stacks.stack import load_stack


def host_test_run(
    monkeypatch: pytest.MonkeyPatch, roles: list[str], pytest_does: Callable[..., Any]
) -> list[Result]:
    monkeypatch.setattr(subprocess, "run", pytest_does)
    stack = load_stack("cpu")
    made = host_tests.container("made")
    return host_tests.run(made, roles, stack, target="container", booted=False).results


def xml_of(*cases: str) -> Callable[..., Any]:
    """A pytest that reports these cases."""

    def pytest_does(command: list[str], **_options: Any) -> Any:
        path = next(part for part in command if part.startswith("--junit-xml=")).partition("=")[2]
        Path(path).write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
        return SimpleNamespace(stdout="", stderr="", returncode=0)

    return pytest_does


CASE = '<testcase classname="tests.host.test_base" name="{}" time="0.1">{}</testcase>'


def test_without_a_file_no_test_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_arguments: object, **_options: object) -> None:
        pytest.fail("pytest without files runs every test of the repository")

    (found,) = host_test_run(monkeypatch, ["nobody"], started)
    assert (found.id, found.status) == ("nobody-has-host-tests", "fail")
    (found,) = host_test_run(monkeypatch, [], started)
    assert (found.id, found.status) == ("host-tests-ran", "fail")


def test_a_role_without_tests_fails_beside_those_that_have_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = host_test_run(monkeypatch, ["base", "nobody"], xml_of(CASE.format("test_x", "")))
    assert {r.id: r.status for r in found} == {
        "nobody-has-host-tests": "fail", "base-test_x": "pass",
    }  # fmt: skip


def test_host_tests_that_hang_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def hanging(command: list[str], **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    (found,) = host_test_run(monkeypatch, ["base"], hanging)
    assert (found.id, found.status) == ("host-tests-ran", "fail")
    assert "did not end within 300 s" in found.reason


@pytest.mark.parametrize("text", ["", "<testsuites><testsuite>", "<testsuites/>"])
def test_a_report_of_pytest_that_is_cut_off_fails(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    def cut_off(command: list[str], **_options: Any) -> Any:
        path = next(part for part in command if part.startswith("--junit-xml=")).partition("=")[2]
        Path(path).write_text(text)
        return SimpleNamespace(stdout="INTERNALERROR> disk full", stderr="", returncode=3)

    (found,) = host_test_run(monkeypatch, ["base"], cut_off)
    assert (found.id, found.status) == ("host-tests-ran", "fail")
    assert "disk full" in found.reason


@pytest.mark.parametrize(
    ("inside", "status", "reason"),
    [
        ("<failure/>", "fail", "no reason given"),
        ('<failure message=""/>', "fail", "no reason given"),
        ('<error message="">Traceback\nmore</error>', "fail", "Traceback"),
        ('<skipped message=""/>', "skip", "no reason given"),
    ],
)
def test_a_test_that_gives_no_reason_has_a_result(
    monkeypatch: pytest.MonkeyPatch, inside: str, status: str, reason: str
) -> None:
    (found,) = host_test_run(monkeypatch, ["base"], xml_of(CASE.format("test_x", inside)))
    assert (found.status, found.reason) == (status, reason)


def test_names_of_host_tests_read_as_words(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "test_is_gone[docker://made-/root/.*_history]"
    (found,) = host_test_run(monkeypatch, ["base"], xml_of(CASE.format(name, "")))
    assert found.title == "base: is gone, /root/.*_history"


@pytest.mark.parametrize(("case", "compared"), [("cpu-ddp", True), ("no-record", False)])
def test_what_a_case_adds_is_compared_where_the_stack_has_a_record(
    monkeypatch: pytest.MonkeyPatch, case: str, compared: bool
) -> None:
    """Of a case that the stack knows, a missing file of tests would be a failure, too."""
    started: list[tuple[list[str], str]] = []

    def pytest_does(command: list[str], **options: Any) -> Any:
        files = [Path(part).name for part in command if part.endswith(".py")]
        started.append((files, options["env"]["BAKEHOUSE_CASE_RECORD"]))
        return xml_of(CASE.format("test_x", ""))(command)

    monkeypatch.setattr(subprocess, "run", pytest_does)
    made, stack = host_tests.container("made"), load_stack("cpu")
    host_tests.run(made, ["base"], stack, target="container", booted=False, case=case)
    ((files, record),) = started
    assert files == ["test_base.py", *(["test_case_packages.py"] if compared else [])]
    assert record == f"{case.replace('-', '_')}_release"
