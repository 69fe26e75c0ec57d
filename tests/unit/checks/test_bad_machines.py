"""Machines that lie, hide, hang or speak gibberish: a result is never better than what was seen."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stand_in_machine import Machine

from bakehouse.checks import __main__ as command
from bakehouse.checks import collectives, environment, hygiene, node, outputs, registry
from bakehouse.checks.host import Host
from bakehouse.checks.registry import Check
from bakehouse.checks.result import Outcome, Result


def ran(machine: Host, function: registry.Function) -> list[Result]:
    return registry.run([Check("made", "node", "Made for a test", function)], machine)


def test_a_check_that_finds_nothing_to_judge_is_skipped(machine: Machine) -> None:
    (found,) = ran(machine, lambda _host: [])
    assert (found.status, found.reason) == ("skip", registry.NOTHING)


def test_a_settings_file_without_settings_is_no_pass(machine: Machine) -> None:
    machine.write(node.SYSCTL_FILE, "# nothing yet\n")
    (found,) = ran(machine, node.kernel_settings)
    assert found.status == "skip"


@pytest.mark.parametrize("value", [None, "pass", [None], Outcome("good"), [Outcome("error")]])
def test_what_is_no_outcome_is_a_failure(machine: Machine, value: object) -> None:
    (found,) = ran(machine, lambda _host: value)  # type: ignore[arg-type, return-value]
    assert found.status == "fail"
    assert "could not understand" in found.reason


def test_a_check_that_ends_the_program_ends_only_itself(machine: Machine) -> None:
    def leaving(_host: object) -> Outcome:
        sys.exit(0)

    (found,) = ran(machine, leaving)
    assert found.status == "fail"
    assert "SystemExit" in found.reason


def test_what_was_found_can_be_written_anywhere(machine: Machine) -> None:
    name = os.fsdecode(b"/root/\xff\x1b[31m_history")
    (found,) = ran(machine, lambda _host: Outcome("fail", measured=name, reason=name))
    for text in (
        outputs.as_table([found]),
        outputs.as_html([found]),
        outputs.as_junit([found]),
        outputs.as_json([found], None),
    ):
        assert "\x1b" not in text
        assert "udcff" in text
        text.encode("utf-8")


def test_a_reason_of_many_lines_stays_a_line_of_the_table(machine: Machine) -> None:
    found = ran(machine, lambda _host: Outcome("fail", reason="first\n  second\n"))
    assert "first second" in outputs.as_table(found)
    assert len(outputs.as_table(found).splitlines()) == 2


def test_a_version_is_no_number_to_draw(machine: Machine) -> None:
    found = ran(machine, lambda _host: Outcome("pass", measured="3.11.2"))
    assert "bakehouse_check_measured{" not in outputs.as_prometheus(found)


def test_torch_that_hangs_is_waited_for_once(machine: Machine) -> None:
    asked = []

    def run(*command: str, stdin: str = "") -> tuple[int, str, str]:
        asked.append((command, stdin))
        raise TimeoutError("python did not end within 60 s")

    machine.run = run  # type: ignore[method-assign]
    for function in (environment.torch_import, environment.torch_backends):
        (found,) = ran(machine, function)
        assert found.status == "fail"
        assert "did not end" in found.reason
    assert len(asked) == 1


@pytest.mark.parametrize("answer", ["", "{}", "[1]", '"2.13"', "{"])
def test_torch_that_answers_something_else_is_no_torch(machine: Machine, answer: str) -> None:
    machine.answers["import json, torch"] = (0, answer, "")
    (found,) = ran(machine, environment.torch_import)
    assert found.status == "fail"


def test_a_word_before_the_answer_of_torch_is_no_answer(machine: Machine) -> None:
    machine.has_torch()
    status, answer, errors = machine.answers["import json, torch"]
    machine.answers["import json, torch"] = (status, f"warning: old driver\n{answer}\n", errors)
    assert environment.torch_import(machine).measured == "2.13.0+cpu"


@pytest.mark.parametrize("answer", ["", "hello", "3"])
def test_an_interpreter_that_does_not_say_its_version_fails(machine: Machine, answer: str) -> None:
    machine.answers["platform.python_version"] = (0, answer, "")
    found = environment.python_environment(machine)
    assert (found.status, found.reason) == ("fail", "it does not say its version")


@pytest.mark.parametrize("text", ["", "\n", "all\n"])
def test_a_list_of_processors_that_says_nothing_is_no_pass(machine: Machine, text: str) -> None:
    for name in ("present", "online"):
        machine.write(f"/sys/devices/system/cpu/{name}", text)
    assert node.cpus(machine).status == "skip"


def test_what_may_not_be_looked_into_is_not_clean(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.write("/root/.profile", "")
    machine.write("/home/ada/.profile", "")
    shut = {machine.path("/root"), machine.path("/home/ada")}
    monkeypatch.setattr(os, "access", lambda path, _mode: path not in shut)
    outcomes = hygiene.forbidden_content(machine)
    assert isinstance(outcomes, list)
    found = {o.suffix: (o.status, o.reason) for o in outcomes}
    assert found["histories"] == ("skip", "may not look into /home/ada, /root")
    assert found["pip-leftovers"] == ("skip", "may not look into /root")
    assert found["host-keys"][0] == "pass"


def test_what_is_seen_is_a_failure_though_more_is_hidden(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.write("/etc/pip.conf", "")
    machine.write("/root/.profile", "")
    monkeypatch.setattr(os, "access", lambda path, _mode: path != machine.path("/root"))
    outcomes = hygiene.forbidden_content(machine)
    assert isinstance(outcomes, list)
    assert {o.suffix for o in outcomes if o.status == "fail"} == {"pip-leftovers"}


RANK = """
import json, sys, time
rank, what = int(sys.argv[1]), {what!r}
if what == "hangs" or (what == "one hangs" and rank == 1):
    time.sleep(60)
if what == "breaks":
    sys.exit("no route to host")
if rank == 0:
    print("nonsense" if what == "babbles" else what)
"""


@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [
        ('{"right": true, "gb_per_s": 1.3}', "pass", ""),
        ('{"right": true, "gb_per_s": 0.01}', "warn", "slower than expected"),
        ('{"right": true, "gb_per_s": NaN}', "warn", "slower than expected"),
        ('{"right": false, "gb_per_s": 9.9}', "fail", "the sum is wrong"),
        ("{}", "fail", "KeyError"),
        ("babbles", "fail", "JSONDecodeError"),
        ("breaks", "fail", "no route to host"),
        ("hangs", "fail", "the two processes did not meet"),
        ("one hangs", "fail", "the two processes did not meet"),
    ],
)
def test_processes_that_sum(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, what: str, status: str, reason: str
) -> None:
    monkeypatch.setattr(collectives, "VENV_PYTHON", sys.executable)
    monkeypatch.setattr(collectives, "_PROGRAM", RANK.format(what=what))
    machine.has_torch()
    machine.budget_s = 0.5 if "hangs" in what else 20.0
    started = time.monotonic()
    (found,) = ran(machine, collectives.gloo_all_reduce)
    assert found.status == status
    assert reason in found.reason
    assert time.monotonic() - started < 10


def test_without_torch_no_processes_are_started(machine: Machine) -> None:
    assert collectives.gloo_all_reduce(machine).status == "skip"


def test_a_real_program_answers_is_missing_or_hangs() -> None:
    host = Host(budget_s=0.3)
    assert host.run("sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")
    assert host.run("/no/such/program")[0] == 127
    with pytest.raises(TimeoutError, match=r"sleep did not end within 0\.3 s"):
        host.run("sleep", "30")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--json", "-", "--html", "-"], "two formats cannot go to the same place"),
        (["--timeout", "nan"], "seconds above zero"),
        (["--timeout", "0"], "seconds above zero"),
        (["--timeout", "soon"], "seconds above zero"),
        (["--root", "/no/such/folder"], "there is no folder /no/such/folder"),
        (["--color"], "unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_record_of_a_run_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    arguments = ["--group", "training", "--run", str(tmp_path / "run.json")]
    target = tmp_path / "results.json"
    assert command.main([*arguments, "--json", str(target)]) == 1
    assert json.loads(target.read_text())["counts"]["pass"] == 0


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"attempts": [], "nodes": 1}'])
def test_a_record_that_is_none_is_no_pass(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    target = tmp_path / "results.json"
    arguments = ["--group", "training", "--run", str(tmp_path / "run.json")]
    assert command.main([*arguments, "--json", str(target)]) == 1
    assert json.loads(target.read_text())["counts"]["pass"] == 0


def test_a_terminal_without_arrows_gets_the_table(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bakehouse.checks", "--check", "image-identity",
         "--root", str(tmp_path)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"1 fail" in done.stdout


def test_python_3_9_runs_the_checks(tmp_path: Path) -> None:
    old = Path.home() / ".pyenv" / "versions"
    interpreters = sorted(old.glob("3.9.*/bin/python"))
    if not interpreters:
        pytest.skip("there is no Python 3.9 on this machine")
    done = subprocess.run(
        [str(interpreters[0]), "-m", "bakehouse.checks", "--check", "machine-id",
         "--root", str(tmp_path), "--json", "-"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["results"][0]["measured"] == "missing"
