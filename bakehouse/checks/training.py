"""Did a run train: judged from run.json, which the launcher writes."""

from __future__ import annotations

import json
import math
from typing import Any

from bakehouse.checks.host import Host
from bakehouse.checks.registry import check
from bakehouse.checks.result import Outcome, judged, skipped

NO_RUN = "no run was given"
CASE = "case.yml"


@check("held-out", "training", "The model is right about samples it has not seen")
def held_out(host: Host) -> Outcome:
    """Accuracy, or mean loss in nats, on the held-out samples: what the test case promises."""
    run = _run(host)
    if run is None:
        return skipped(NO_RUN)
    final = _last(run, "final")
    if final is None or run.get("outcome") != "done":
        return Outcome(
            "fail", None, "a final record", CASE, "the run did not end", "read the nodes' logs"
        )
    promised = [k for k in ("accuracy", "loss") if run["expected"].get(k) is not None]
    if not promised:
        return skipped("the test case promises nothing of this configuration")
    figure = promised[0]
    value, bound = float(final[figure]), float(run["expected"][figure])
    return judged(
        value >= bound if figure == "accuracy" else value <= bound,
        f"{figure} {value:.4f} on {final['held_out']} samples",
        f"at {'least' if figure == 'accuracy' else 'most'} {bound:g}",
        CASE,
        remedy="train longer, or look at the loss",
    )


@check("loss", "training", "The loss is finite and falls")
def loss(host: Host) -> Outcome:
    """First against last logged loss."""
    run = _run(host)
    if run is None:
        return skipped(NO_RUN)
    losses = [float(r["loss"]) for r in _records(run, "step")]
    if len(losses) < 2:
        return Outcome("fail", len(losses), "steps", "run.json", "no steps were logged", "")
    finite = all(math.isfinite(value) for value in losses)
    return judged(
        finite and losses[-1] < losses[0],
        f"{losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} logged steps",
        "finite, last below first",
        "run.json",
        remedy="lower the learning rate",
    )


@check("world-size", "training", "All processes took part")
def world_size(host: Host) -> Outcome:
    """World size of every attempt."""
    run = _run(host)
    if run is None:
        return skipped(NO_RUN)
    expected = run["nodes"] * run["processes_per_node"]
    sizes = sorted({r["world_size"] for r in _records(run, "start")})
    return judged(sizes == [expected], sizes, [expected], "nodes × processes per node")


@check("resume", "training", "The run goes on where its checkpoint ended")
def resume(host: Host) -> Outcome:
    """After a kill, the next attempt resumes at the last checkpoint and takes the next step."""
    run = _run(host)
    if run is None:
        return skipped(NO_RUN)
    if len(run["attempts"]) < 2:
        return skipped("no node was killed in this run")
    before, after = run["attempts"][0]["records"], run["attempts"][1]["records"]
    saved = [r["step"] for r in before if r["event"] == "checkpoint"]
    resumed = [r["step"] for r in after if r["event"] == "resume"]
    steps = [r["step"] for r in after if r["event"] == "step"]
    if not saved or not resumed or not steps:
        return Outcome(
            "fail", {"saved": saved, "resumed": resumed}, "a checkpoint, and a resume from it",
            "run.json", "the run started over", "is the checkpoint folder shared by the nodes?",
        )  # fmt: skip
    latest = max(saved) + _log_interval(before + after)
    return judged(
        resumed[0] == max(saved) and resumed[0] < steps[0] <= latest,
        f"resumed at {resumed[0]}, next logged step {steps[0]}",
        f"resumed at {max(saved)}, next logged step after that and up to {latest}",
        "run.json",
        reason="steps were lost or done twice",
        remedy="look at what the checkpoint holds",
    )


@check("replay", "training", "Steps done twice come out the same")
def replay(host: Host) -> Outcome:
    """Losses of steps after the checkpoint, before the kill and again after the resume."""
    run = _run(host)
    if run is None:
        return skipped(NO_RUN)
    if len(run["attempts"]) < 2:
        return skipped("no node was killed in this run")
    promise = run["expected"].get("resume")
    if promise is None:
        return skipped("the test case promises nothing of a resume")
    first, second = (
        {r["step"]: r["loss"] for r in attempt["records"] if r["event"] == "step"}
        for attempt in run["attempts"][:2]
    )
    both = sorted(set(first) & set(second))
    if not both:
        return skipped("no step was done twice")
    worst = max(abs(first[step] - second[step]) for step in both)
    return judged(
        all(as_promised(promise, first[step], second[step]) for step in both),
        f"{len(both)} steps, largest difference {worst:g}",
        "no difference" if isinstance(promise, str) else f"within {promise:g} of the loss",
        "same state, same data, same arithmetic",
        reason="optimiser, data loader or random state was not restored",
        remedy="look at what the checkpoint holds",
    )


@check("throughput", "training", "Samples go through")
def throughput(host: Host) -> Outcome:
    """Median tokens or samples per second of the logged steps."""
    run = _run(host)
    if run is None:
        return skipped(NO_RUN)
    steps = _records(run, "step")
    unit = "tokens" if any("tokens_per_s" in step for step in steps) else "samples"
    rates = sorted(float(step[f"{unit}_per_s"]) for step in steps if f"{unit}_per_s" in step)
    median = rates[len(rates) // 2] if rates else 0.0
    return judged(
        all(map(math.isfinite, rates)) and median > 0,
        f"{median:.0f} {unit}/s, the median step",
        "more than none",
        "run.json",
    )


@check("exit-statuses", "training", "Processes ended as they should")
def exit_statuses(host: Host) -> Outcome:
    """The last attempt ends with zeros; an attempt whose node was killed does not."""
    run = _run(host)
    if run is None:
        return skipped(NO_RUN)
    attempts = run["attempts"]
    last = attempts[-1]["exit_statuses"] if attempts else []
    survived = [a for a in attempts if a["killed"] and 0 in a["exit_statuses"]]
    return judged(
        last == [0] * run["nodes"] and not survived,
        [a["exit_statuses"] for a in attempts],
        "zeros at the end; no zero where a node was killed",
        "run.json",
        reason="a process failed, or did not notice that its peer was gone",
        remedy="read the nodes' logs",
    )


def as_promised(promise: str | float | None, before: float, after: float) -> bool:
    """Whether a step that was done twice came out as the case promises.

    Args:
        promise: "bit-identical", or the greatest relative difference; None promises nothing.
        before: Its loss before the kill.
        after: Its loss after the resume. What is not a number keeps no promise.
    """
    if promise is None:
        return True
    tolerance = 0.0 if isinstance(promise, str) else promise
    return abs(before - after) <= tolerance * abs(before)


def _run(host: Host) -> dict[str, Any] | None:
    if host.run_path is None:
        return None
    with open(host.run_path, encoding="utf-8") as stream:
        run = json.load(stream)
    if not isinstance(run, dict):
        raise ValueError(f"{host.run_path} does not hold an object")
    return run


def _records(run: dict[str, Any], event: str) -> list[dict[str, Any]]:
    return [r for attempt in run["attempts"] for r in attempt["records"] if r["event"] == event]


def _log_interval(records: list[dict[str, Any]]) -> int:
    """Steps from one logged step to the next."""
    steps = sorted({int(r["step"]) for r in records if r["event"] == "step"})
    return min((steps[n + 1] - steps[n] for n in range(len(steps) - 1)), default=1)


def _last(run: dict[str, Any], event: str) -> dict[str, Any] | None:
    last = run["attempts"][-1]["records"] if run["attempts"] else []
    found = [r for r in last if r["event"] == event]
    return found[-1] if found else None
