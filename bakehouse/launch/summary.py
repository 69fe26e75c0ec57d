"""What a run has shown, from its record alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bakehouse.checks.training import as_promised
from bakehouse.launch.run_record import Attempt, RunRecord

RATES = ("tokens_per_s", "samples_per_s")
"""How a training says how fast it was; of both, tokens."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of a run that came to its end.

    Attributes:
        accuracy: Share of held-out samples classified rightly; None where the case measures a loss.
        loss: Mean loss on the held-out samples; None where the case measures an accuracy.
        rate: Mean over the last attempt, in `unit`.
        unit: samples_per_s or tokens_per_s.
        resumed_at: Step of the checkpoint that the last attempt continued from; None if it began.
        replayed: Steps that were logged before the kill and again after the resume.
        replay_differs_at: First replayed step whose loss differs more than promised; None if all
            are as promised.
        problems: What is not as the test case promises; empty for a good run.
    """

    attempts: int
    steps: int
    accuracy: float | None
    loss: float | None
    held_out: int
    world_size: int
    rate: float
    unit: str
    parameters_sha256: str | None
    resumed_at: int | None
    replayed: int
    replay_differs_at: int | None
    problems: list[str]


def summarise(record: RunRecord) -> Summary:
    """Judge a finished run; its last attempt has a final record."""
    last = record.attempts[-1]
    final = last.events("final")[-1]
    resumed = last.events("resume")
    world_size = int(last.events("start")[0]["world_size"])
    pairs = _replayed(record.attempts)
    promise = record.expected.get("resume")
    different = [step for step, pair in sorted(pairs.items()) if not as_promised(promise, *pair)]
    unit = next(name for name in RATES if name in final)
    problems = list(_broken_promises(record.expected, final, world_size))
    if len(record.attempts) > 1 and not resumed:
        problems.append("the last attempt began from nothing instead of from a checkpoint")
    if different:
        before, after = pairs[different[0]]
        problems.append(
            f"step {different[0]} had loss {before!r} before the kill and {after!r} after it"
        )
    return Summary(
        attempts=len(record.attempts),
        steps=int(final["step"]),
        accuracy=final.get("accuracy"),
        loss=final.get("loss"),
        held_out=int(final["held_out"]),
        world_size=world_size,
        rate=float(final[unit]),
        unit=unit,
        parameters_sha256=final.get("parameters_sha256"),
        resumed_at=int(resumed[0]["step"]) if resumed else None,
        replayed=len(pairs),
        replay_differs_at=different[0] if different else None,
        problems=problems,
    )


def _replayed(attempts: list[Attempt]) -> dict[int, tuple[float, float]]:
    """Steps that both of the last two attempts logged, with both losses."""
    if len(attempts) < 2:
        return {}
    before, after = ({r["step"]: r["loss"] for r in a.events("step")} for a in attempts[-2:])
    return {step: (before[step], after[step]) for step in before.keys() & after.keys()}


def _broken_promises(
    expected: dict[str, Any], final: dict[str, Any], world_size: int
) -> Iterator[str]:
    least, most = expected.get("accuracy"), expected.get("loss")
    if least is not None and not final["accuracy"] >= least:
        yield f"accuracy {final['accuracy']:.4f} is below the promised {least}"
    if most is not None and not final["loss"] <= most:
        yield f"held-out loss {final['loss']:.4f} is above the promised {most}"
    if world_size != expected["world_size"]:
        yield f"{world_size} processes trained together, not {expected['world_size']}"
