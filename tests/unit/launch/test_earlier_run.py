"""A finished run of the same image is not repeated; any other is."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakehouse.launch.case import load_case
from bakehouse.launch.earlier import same_run
from bakehouse.launch.environment import Setting
from bakehouse.launch.request import Request
from bakehouse.launch.run_record import FILE_NAME, Attempt, Killed, RunRecord


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    case = load_case("cpu-ddp")
    return Request(
        case=case,
        image="bakehouse/cpu-ddp:latest",
        image_id="sha256:0",
        image_user="",
        configuration=case.default_configuration,
        nodes=2,
        processes_per_node=2,
        kill_node=1,
        kill_after_step=60,
        output=tmp_path,
        timeout_s=600.0,
        keep=False,
    )


@pytest.fixture
def finished(request_: Request) -> dict[str, Any]:
    """Leave the record of a finished run of this request; its content."""
    record = RunRecord(
        case="cpu-ddp",
        configuration=request_.configuration,
        image=request_.image,
        image_id=request_.image_id,
        started="2026-01-01T00:00:00+00:00",
        nodes=2,
        processes_per_node=2,
        environment=[Setting(variable="OMP_NUM_THREADS", value="1", reason="because")],
        expected=request_.expected,
        outcome="done",
        attempts=[
            Attempt(
                attempt=1,
                started="2026-01-01T00:00:00+00:00",
                killed=Killed(node=1, after_step=60, at_step=62),
            ),
            Attempt(attempt=2, started="2026-01-01T00:00:20+00:00"),
        ],
    )
    record.write(request_.output)
    return record.as_json()


def test_the_same_request_finds_the_record_as_it_was_written(
    request_: Request, finished: dict[str, Any]
) -> None:
    found = same_run(request_)
    assert found is not None
    assert found.as_json() == json.loads(json.dumps(finished))


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": "sha256:1"},
        {"configuration": "digits-mlp"},
        {"nodes": 1},
        {"processes_per_node": 4},
        {"kill_node": 0},
        {"kill_after_step": 61},
        {"kill_node": None, "kill_after_step": None},
    ],
    ids=str,
)
@pytest.mark.usefixtures("finished")
def test_another_request_finds_none(request_: Request, change: dict[str, Any]) -> None:
    assert same_run(replace(request_, **change)) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: {**content, "outcome": "failed"},
        lambda content: {**content, "outcome": "running"},
        lambda content: {**content, "expected": {"accuracy": 0.1}},
        lambda content: {**content, "schema": 0},
        lambda content: {**content, "unknown": 1},
        lambda content: {name: content[name] for name in content if name != "attempts"},
        lambda _content: [],
    ],
)
def test_another_record_is_no_such_run(
    request_: Request,
    finished: dict[str, Any],
    spoil: Callable[[dict[str, Any]], Any],
) -> None:
    (request_.output / FILE_NAME).write_text(json.dumps(spoil(finished)))
    assert same_run(request_) is None


@pytest.mark.parametrize("text", [None, "", "{"])
def test_no_record_or_half_of_one_is_no_such_run(request_: Request, text: str | None) -> None:
    if text is not None:
        (request_.output / FILE_NAME).write_text(text)
    assert same_run(request_) is None
