"""Whatever a check meets, its result is a finding; nothing is passed that was not looked at."""

import ast
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stand_in_machine import Machine

from bakehouse import checks
from bakehouse.checks import __main__ as command
from bakehouse.checks import registry
from bakehouse.checks.registry import CHECKS, Check
from bakehouse.checks.result import GROUPS, Outcome

PACKAGE = Path(checks.__file__).parent
GARBAGE = "\x00\xff garbage {["


def ran(machine: Machine, *functions: registry.Function) -> list[tuple[str, str]]:
    """Status and reason of checks made of functions."""
    made = [Check(f"check-{n}", "node", "A check", each) for n, each in enumerate(functions)]
    return [(r.status, r.reason) for r in registry.run(made, machine)]


def test_a_check_that_breaks_is_a_failure_with_its_error(machine: Machine) -> None:
    def broken(_host: object) -> Outcome:
        raise KeyError("MemTotal")

    (status, reason), (next_status, _) = ran(machine, broken, lambda _host: Outcome("pass"))
    assert (status, next_status) == ("fail", "pass")
    assert "KeyError: 'MemTotal'" in reason


def test_a_check_that_hangs_is_ended(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "GRACE_S", 0.1)
    machine.budget_s = 0.1

    def hanging(_host: object) -> Outcome:
        time.sleep(30)
        return Outcome("pass")

    started = time.monotonic()
    assert ran(machine, hanging) == [("fail", "timed out")]
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("identifier", CHECKS)
def test_no_check_passes_on_a_machine_whose_programs_hang(
    machine: Machine, identifier: str
) -> None:
    """Those that start no program may pass: they have looked."""
    machine.identify()
    machine.hangs = True
    starts_programs = {"python-environment", "torch-import", "torch-backends", "torch-version"}
    for result in registry.run([CHECKS[identifier]], machine):
        if identifier in starts_programs | {"gloo-all-reduce", "clock"}:
            assert result.status == "fail"
            assert "did not end within" in result.reason


@pytest.mark.parametrize("identifier", CHECKS)
def test_no_check_raises_or_passes_on_garbage(machine: Machine, identifier: str) -> None:
    read = ["/etc/bakehouse/image.json", "/proc/meminfo", "/sys/devices/system/cpu/present"]
    for path in [*read, "/sys/devices/system/cpu/online", "/etc/machine-id"]:
        machine.write(path, f"{GARBAGE} {path}")
    machine.write("/run.json", GARBAGE)
    machine.run_path = machine.path("/run.json")
    machine.answers = {"": (0, GARBAGE, GARBAGE)}
    judged_elsewhere = {"disk", "shm", "open-files", "locked-memory", "secrets-in-environment"}
    tolerant = {"absent", "sysctl", "python-environment"}  # nothing of theirs is garbage here
    for result in registry.run([CHECKS[identifier]], machine):
        if identifier not in judged_elsewhere | tolerant:
            assert result.status in {"fail", "skip"}, result
            assert result.reason


def test_a_group_or_check_that_does_not_exist_is_wrong_input(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["--group", "nodes"]) == 2
    assert "there is no group nodes; one of: environment" in capsys.readouterr().err
    assert command.main(["--check", "clok"]) == 2
    assert "there is no check clok" in capsys.readouterr().err


def test_every_group_has_checks_and_every_check_a_sentence() -> None:
    assert {each.group for each in CHECKS.values()} == set(GROUPS)
    assert all(each.function.__doc__ for each in CHECKS.values())


@pytest.mark.parametrize(("content", "status"), [("", 0), ("x" * 33, 1)])
def test_the_exit_status_says_whether_anything_failed(
    tmp_path: Path, content: str, status: int
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "machine-id").write_text(content)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bakehouse.checks",
            "--check",
            "machine-id",
            "--root",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert ("1 fail" in done.stdout) is bool(status)


def test_json_goes_where_it_is_asked_to(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    root = ["--root", str(tmp_path), "--identity", "/nowhere.json"]
    assert command.main(["--check", "image-identity", *root, "--json", str(target)]) == 1
    content = json.loads(target.read_text())
    assert content["counts"] == {"pass": 0, "warn": 0, "fail": 1, "skip": 0}
    assert content["identity"] is None


def test_results_that_cannot_be_written_are_no_good_result(tmp_path: Path) -> None:
    arguments = ["--check", "machine-id", "--json", str(tmp_path / "no" / "such" / "folder")]
    assert command.main(arguments) == 2


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_checks_need_nothing_but_python_3_9(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= {*sys.stdlib_module_names, "bakehouse"}
