"""What a finished run has shown."""

from typing import Any

import pytest

from bakehouse.checks.training import as_promised
from bakehouse.launch.run_record import Attempt, RunRecord
from bakehouse.launch.summary import summarise


def attempt(
    number: int, steps: range, *, resumed: int | None = None, final: bool = False, **changes: Any
) -> Attempt:
    made = Attempt(attempt=number, started="2026-01-01T00:00:00+00:00")
    made.records = [{"event": "start", "step": 0, "world_size": changes.get("world_size", 4)}]
    if resumed is not None:
        made.records.append({"event": "resume", "step": resumed})
    for step in steps:
        loss = changes.get("losses", {}).get(step, 1 / step)
        made.records.append({"event": "step", "step": step, "loss": loss})
    if final:
        made.records.append(
            {
                "event": "final",
                "step": steps[-1],
                "accuracy": changes.get("accuracy", 0.97),
                "held_out": 364,
                "samples_per_s": 100.0,
                "parameters_sha256": "0" * 64,
            }
        )
    return made


def run(*attempts: Attempt) -> RunRecord:
    record = RunRecord(
        case="cpu-ddp",
        configuration="digits-cnn",
        image="bakehouse/cpu-ddp:latest",
        image_id="sha256:0",
        started="2026-01-01T00:00:00+00:00",
        nodes=2,
        processes_per_node=2,
        environment=[],
        expected={"accuracy": 0.95, "world_size": 4, "resume": "bit-identical"},
    )
    record.attempts = list(attempts)
    return record


def test_a_good_run_has_no_problems() -> None:
    summary = summarise(run(attempt(1, range(1, 301), final=True)))
    assert summary.problems == []
    assert (summary.attempts, summary.steps, summary.accuracy) == (1, 300, 0.97)
    assert (summary.resumed_at, summary.replayed) == (None, 0)
    assert (summary.rate, summary.unit, summary.loss) == (100.0, "samples_per_s", None)


@pytest.mark.parametrize(
    ("loss", "problems"),
    [
        (2.5, []),
        (2.6, ["held-out loss 2.6000 is above the promised 2.5"]),
        (float("nan"), ["held-out loss nan is above the promised 2.5"]),
    ],
)
def test_a_promised_loss_is_an_upper_bound(loss: float, problems: list[str]) -> None:
    record = run(attempt(1, range(1, 301), final=True))
    record.expected = {"loss": 2.5, "world_size": 4}
    final = record.attempts[0].records[-1]
    del final["accuracy"], final["samples_per_s"], final["parameters_sha256"]
    final |= {"loss": loss, "tokens_per_s": 7.0}
    summary = summarise(record)
    assert summary.problems == problems
    assert (summary.rate, summary.unit, summary.accuracy) == (7.0, "tokens_per_s", None)


@pytest.mark.parametrize(
    ("promise", "before", "after", "kept"),
    [
        ("bit-identical", 2.0, 2.0, True),
        ("bit-identical", 2.0, 2.0000001, False),
        ("bit-identical", float("nan"), float("nan"), False),
        (0.001, 2.0, 2.0019, True),
        (0.001, 2.0, 2.0021, False),
        (0.001, 2.0, float("nan"), False),
        (None, 2.0, 9.0, True),
    ],
)
def test_steps_done_twice_come_out_as_promised(
    promise: str | float | None, before: float, after: float, kept: bool
) -> None:
    assert as_promised(promise, before, after) is kept


def test_a_good_resume_repeats_steps_with_equal_losses() -> None:
    broken = run(attempt(1, range(1, 66)), attempt(2, range(41, 301), resumed=40, final=True))
    summary = summarise(broken)
    assert summary.problems == []
    assert (summary.resumed_at, summary.replayed, summary.replay_differs_at) == (40, 25, None)


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ({"accuracy": 0.5}, "accuracy 0.5000 is below the promised 0.95"),
        ({"world_size": 2}, "2 processes trained together, not 4"),
        ({"losses": {50: 0.1}}, "step 50 had loss 0.02 before the kill and 0.1 after it"),
        ({"resumed": None}, "the last attempt began from nothing"),
    ],
)
def test_a_broken_promise_is_named(second: dict[str, Any], problem: str) -> None:
    last = attempt(2, range(41, 301), **{"resumed": 40, "final": True, **second})
    problems = summarise(run(attempt(1, range(1, 66)), last)).problems
    assert len(problems) == 1
    assert problem in problems[0]
