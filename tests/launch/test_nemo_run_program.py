"""The nemo-run test case: a job that failed is never told as done. Needs no image."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bakehouse import layout


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """launch.py of the case."""
    monkeypatch.syspath_prepend(str(layout.SHARED))
    monkeypatch.syspath_prepend(str(layout.CONTAINERS / "nemo-run"))
    path = layout.CONTAINERS / "nemo-run" / "launch.py"
    spec = importlib.util.spec_from_file_location("nemo_run_launch", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("state", ["FAILED", "RUNNING", "CANCELLED", "UNKNOWN"])
def test_any_state_but_success_is_an_error(launch: ModuleType, state: str) -> None:
    status = {"one": {"status": "SUCCEEDED"}, "two": {"status": state}}
    with pytest.raises(launch.Stop, match=f"two is {state}"):
        launch.demand_success(status)


def test_no_job_is_an_error_and_success_is_none(launch: ModuleType) -> None:
    with pytest.raises(launch.Stop, match="there is no job"):
        launch.demand_success({})
    launch.demand_success({"one": {"status": "SUCCEEDED"}})


def test_records_are_found_behind_what_torchrun_puts_before_them(launch: ModuleType) -> None:
    line = 'training/0 [default0]:{"event": "step", "step": 1}\n'
    assert launch.record_in(line) == '{"event": "step", "step": 1}'
    assert launch.record_in("SUCCEEDED") is None
    assert launch.record_in('{"event": "st') is None


@pytest.mark.parametrize(
    ("says", "status", "message"),
    [
        ("raise SystemExit(1)", 1, "the job failed"),
        ("pass", 1, "it has not said that it is done"),
    ],
)
def test_a_worker_that_fails_or_says_nothing_is_an_error(
    launch: ModuleType, says: str, status: int, message: str, tmp_path: Path
) -> None:
    program = tmp_path / "worker.py"
    program.write_text(says)
    with pytest.raises(launch.Stop) as caught:
        launch.follow([sys.executable, str(program)])
    assert caught.value.status == status
    assert message.removeprefix("the ") in caught.value.message
