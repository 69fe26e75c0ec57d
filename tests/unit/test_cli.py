"""The command line's frame: help, exit statuses, errors without tracebacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bakehouse import cli, errors


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_teaches_by_example(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bakehouse", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"bakehouse {command}" in done.stdout.split("Usage:")[1].split("\n", 1)[1]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.CheckError, 1),
        (errors.InputError, 2),
        (errors.HostError, 3),
        (errors.DownloadError, 4),
        (errors.BuildError, 5),
        (errors.RunError, 6),
    ],
)
def test_each_failure_ends_in_its_documented_status(
    error: type[errors.BakehouseError],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error("the oven is cold", where="oven.yml:3: [heat]", remedy="light it")

    monkeypatch.setattr(cli, "application", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    assert f"{status} " in cli.EXIT_STATUSES
    shown = capsys.readouterr().err
    assert "oven.yml:3: [heat]: the oven is cold" in shown
    assert "remedy: light it" in shown
    assert "Traceback" not in shown


def test_who_asks_for_help_does_not_wait_for_boto3() -> None:
    script = "import sys; import bakehouse.cli; sys.exit('boto3' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_interrupt_ends_in_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "application", interrupt)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("bakehouse build cpu-d", ["cpu-ddp"]),
        ("bakehouse check nod", ["node"]),
        ("bakehouse run cpu", ["cpu-ddp"]),
        ("bakehouse versions loc", ["localhost"]),
        ("bakehouse versions x --stack gpu-c", ["gpu-cuda13"]),
        ("bakehouse ami prune --image cpu-m", ["cpu-machine"]),
        ("bakehouse stack show gpu-c", ["gpu-cuda13"]),
        ("bakehouse stack bump cpu dock", ["docker_release"]),
    ],
)
def test_a_shell_completes_what_there_is(words: str, completions: list[str]) -> None:
    asked = {"_BAKEHOUSE_COMPLETE": "complete_bash", "COMP_WORDS": words}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "bakehouse")],
        env={**os.environ, **asked, "COMP_CWORD": str(len(words.split()) - 1)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == completions


@pytest.mark.parametrize("name", [r"x\[/red]", "[/]", "[bold]", "\\", "x\\"])
def test_a_name_that_looks_like_markup_is_only_a_name(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bakehouse", "stack", "show", name])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert f"there is no stack {name}" in capsys.readouterr().err


RAISING = """\
import signal
from bakehouse import cli
signal.signal(signal.SIGHUP, signal.{before})
cli.application = lambda: signal.raise_signal(signal.{number})
cli.main()
"""


@pytest.mark.parametrize(
    ("number", "before", "status"),
    [("SIGTERM", "SIG_DFL", 130), ("SIGHUP", "SIG_DFL", 130), ("SIGHUP", "SIG_IGN", 0)],
    ids=["kill", "closed terminal", "nohup"],
)
def test_what_ends_us_is_an_interrupt_so_that_things_are_put_away(
    number: str, before: str, status: int
) -> None:
    script = RAISING.format(number=number, before=before)
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert (done.returncode, "interrupted" in done.stderr) == (status, status == 130)
