"""Checks of a training run, from its record."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stand_in_machine import Machine

from bakehouse.checks import training
from bakehouse.checks.registry import CHECKS
from bakehouse.checks.result import Outcome

Change = Callable[[dict[str, Any]], None]


def step(number: int, loss: float) -> dict[str, Any]:
    return {"event": "step", "step": number, "loss": loss, "samples_per_s": 100.0}


GOOD: dict[str, Any] = {
    "outcome": "done",
    "nodes": 2,
    "processes_per_node": 2,
    "expected": {"accuracy": 0.95, "world_size": 4, "resume": "bit-identical"},
    "attempts": [
        {
            "killed": {"node": 1},
            "exit_statuses": [1, 137],
            "records": [
                {"event": "start", "world_size": 4},
                step(1, 2.3),
                step(2, 2.0),
                {"event": "checkpoint", "step": 2},
                step(3, 1.5),
            ],
        },
        {
            "killed": None,
            "exit_statuses": [0, 0],
            "records": [
                {"event": "start", "world_size": 4},
                {"event": "resume", "step": 2},
                step(3, 1.5),
                step(4, 1.0),
                {"event": "final", "step": 4, "accuracy": 0.97, "held_out": 364},
            ],
        },
    ],
}


@pytest.fixture
def judge(machine: Machine, tmp_path: Path) -> Callable[..., Outcome]:
    """Judge a changed run by one check."""

    def run(check: str, change: Change = lambda _run: None) -> Outcome:
        content = copy.deepcopy(GOOD)
        change(content)
        (tmp_path / "run.json").write_text(json.dumps(content))
        machine.run_path = str(tmp_path / "run.json")
        found = CHECKS[check].function(machine)
        assert isinstance(found, Outcome)
        return found

    return run


TRAINING = [name for name, check in CHECKS.items() if check.group == "training"]


@pytest.mark.parametrize("check", TRAINING)
def test_a_good_run_passes(judge: Callable[..., Outcome], check: str) -> None:
    assert judge(check).status == "pass"


def test_throughput_says_of_which_steps(judge: Callable[..., Outcome]) -> None:
    """The report's first lines have another figure: the mean of the last attempt."""
    assert judge("throughput").measured == "100 samples/s, the median step"


@pytest.mark.parametrize("check", TRAINING)
def test_no_run_is_skipped(machine: Machine, check: str) -> None:
    found = CHECKS[check].function(machine)
    assert isinstance(found, Outcome)
    assert (found.status, found.reason) == ("skip", training.NO_RUN)


def attempts(run: dict[str, Any], number: int) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = run["attempts"][number]["records"]
    return records


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("held-out", lambda run: attempts(run, 1)[-1].update(accuracy=0.94)),
        ("held-out", lambda run: attempts(run, 1)[-1].update(accuracy=float("nan"))),
        ("held-out", lambda run: attempts(run, 1).pop()),
        ("held-out", lambda run: run.update(outcome="failed")),
        ("loss", lambda run: attempts(run, 1)[3].update(loss=9.0)),
        ("loss", lambda run: attempts(run, 0)[2].update(loss=float("nan"))),
        ("world-size", lambda run: attempts(run, 1)[0].update(world_size=2)),
        ("resume", lambda run: attempts(run, 1).pop(1)),
        ("resume", lambda run: attempts(run, 1)[1].update(step=0)),
        ("resume", lambda run: attempts(run, 1).pop(2)),
        ("resume", lambda run: attempts(run, 1).insert(2, step(2, 2.0))),
        ("replay", lambda run: attempts(run, 1)[2].update(loss=1.5000001)),
        ("throughput", lambda run: [r.update(samples_per_s=0) for r in attempts(run, 1)[2:4]]
         + [r.update(samples_per_s=0) for r in attempts(run, 0) if r["event"] == "step"]),
        ("exit-statuses", lambda run: run["attempts"][1].update(exit_statuses=[0, 1])),
        ("exit-statuses", lambda run: run["attempts"][1].update(exit_statuses=[0])),
        ("exit-statuses", lambda run: run["attempts"][0].update(exit_statuses=[0, 137])),
    ],
)  # fmt: skip
def test_a_run_that_went_wrong_fails(
    judge: Callable[..., Outcome], check: str, change: Change
) -> None:
    found = judge(check, change)
    assert found.status == "fail"
    assert found.reason


def test_a_loss_is_judged_where_one_is_promised(judge: Callable[..., Outcome]) -> None:
    def change(loss: float) -> Change:
        def run(content: dict[str, Any]) -> None:
            content["expected"] = {"loss": 2.5, "world_size": 4}
            attempts(content, 1)[-1] = {"event": "final", "step": 4, "loss": loss, "held_out": 9}

        return run

    assert judge("held-out", change(2.5)).status == "pass"
    assert judge("held-out", change(2.51)).status == "fail"
    assert judge("held-out", change(float("nan"))).status == "fail"


def test_what_nobody_promised_is_not_judged(judge: Callable[..., Outcome]) -> None:
    for check in ("held-out", "replay"):
        found = judge(check, lambda run: run.update(expected={"world_size": 4}))
        assert found.status == "skip"
        assert "promises nothing" in found.reason


def test_a_resume_may_differ_as_much_as_promised(judge: Callable[..., Outcome]) -> None:
    def change(loss: float) -> Change:
        def run(content: dict[str, Any]) -> None:
            content["expected"]["resume"] = 0.001
            attempts(content, 1)[2].update(loss=loss)

        return run

    assert judge("replay", change(1.5014)).status == "pass"
    assert judge("replay", change(1.5016)).status == "fail"


def test_throughput_is_of_tokens_where_tokens_are_counted(judge: Callable[..., Outcome]) -> None:
    def change(run: dict[str, Any]) -> None:
        for record in (*attempts(run, 0), *attempts(run, 1)):
            if record["event"] == "step":
                record["tokens_per_s"] = 10 * record.pop("samples_per_s")

    assert judge("throughput", change).measured == "1000 tokens/s, the median step"


def test_a_case_that_logs_every_fifth_step_may_resume(judge: Callable[..., Outcome]) -> None:
    def every_fifth(run: dict[str, Any]) -> None:
        before, after = attempts(run, 0), attempts(run, 1)
        before[1:] = [step(5, 2.0), step(10, 1.8), {"event": "checkpoint", "step": 10}]
        after[1:4] = [{"event": "resume", "step": 10}, step(15, 1.0), step(20, 0.9)]

    assert judge("resume", every_fifth).status == "pass"


@pytest.mark.parametrize("check", ["resume", "replay"])
def test_an_unbroken_run_has_no_resume_to_judge(judge: Callable[..., Outcome], check: str) -> None:
    assert judge(check, lambda run: run["attempts"].pop(0)).status == "skip"
