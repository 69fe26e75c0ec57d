"""What a run has shown, from its record alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bakehouse.launch.run_record import Attempt, RunRecord


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of a run that came to its end.

    Attributes:
        accuracy: Share of held-out samples classified rightly.
        samples_per_s: Mean over the last attempt.
        resumed_at: Step of the checkpoint that the last attempt continued from; None if it began.
        replayed: Steps that were logged before the kill and again after the resume.
        replay_differs_at: First replayed step whose loss is not the same; None if all are.
        problems: What is not as the test case promises; empty for a good run.
    """

    attempts: int
    steps: int
    accuracy: float
    held_out: int
    world_size: int
    samples_per_s: float
    parameters_sha256: str
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
    different = [step for step, (before, after) in sorted(pairs.items()) if before != after]
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
        accuracy=float(final["accuracy"]),
        held_out=int(final["held_out"]),
        world_size=world_size,
        samples_per_s=float(final["samples_per_s"]),
        parameters_sha256=str(final["parameters_sha256"]),
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
    if final["accuracy"] < expected["accuracy"]:
        yield f"accuracy {final['accuracy']:.4f} is below the promised {expected['accuracy']}"
    if world_size != expected["world_size"]:
        yield f"{world_size} processes trained together, not {expected['world_size']}"
