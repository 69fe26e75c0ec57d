"""The training curve: loss by step, where a node was killed, where the run went on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 1000, 260
"""Of the drawing, without its labels: the page stretches it and sets the labels beside it."""

Tick = tuple[float, str]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A vertical line with a word beside it."""

    x: float
    text: str
    kind: str

    @property
    def flipped(self) -> bool:
        """Whether the word stands left of the line: a resume comes before the kill it follows."""
        return self.x > (0.1 if self.kind == "resume" else 0.75) * WIDTH


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Lines, each with a sentence about it, marks and ticks in the coordinates of the drawing."""

    lines: list[str]
    legend: list[str]
    marks: list[Mark]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    undrawn: int


def curve(run: dict[str, Any] | None) -> Curve | None:
    """Lay out the losses of a run; None if fewer than two can be drawn."""
    attempts = (run or {}).get("attempts", [])
    logged = [
        [(r["step"], float(r["loss"])) for r in a["records"] if r["event"] == "step"]
        for a in attempts
    ]
    drawn = [[(step, loss) for step, loss in points if math.isfinite(loss)] for points in logged]
    points = [point for line in drawn for point in line]
    if len(points) < 2:
        return None
    last: float = max(1, *(step for step, _ in points))
    lowest = min(0.0, *(loss for _, loss in points))
    highest = max(loss for _, loss in points)
    top = highest + 0.06 * (highest - lowest) or 1.0

    def x_of(step: float) -> float:
        return round(WIDTH * step / last, 1)

    def y_of(loss: float) -> float:
        return round(HEIGHT * (top - loss) / (top - lowest), 1)

    shown = [(a, line) for a, line in zip(attempts, drawn, strict=True) if line]
    return Curve(
        lines=[" ".join(f"{x_of(s)},{y_of(loss)}" for s, loss in line) for _, line in shown],
        legend=[_sentence(attempt, line) for attempt, line in shown],
        marks=_marks(attempts, x_of),
        x_ticks=[(x_of(step), text) for step, text in _ticks(0, last, 6, least=1)],
        y_ticks=[(y_of(loss), text) for loss, text in _ticks(lowest, top, 4)],
        undrawn=sum(map(len, logged)) - len(points),
    )


def _ticks(lowest: float, highest: float, wanted: int, *, least: float = 0) -> list[Tick]:
    """Round numbers from lowest to highest, about as many as wanted."""
    raw = (highest - lowest) / wanted
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = max(least, next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw * 0.999))
    numbers = range(math.ceil(lowest / step), math.floor(highest / step) + 1)
    return [(number * step, f"{round(number * step, 12):g}") for number in numbers]


def _marks(attempts: list[dict[str, Any]], x_of: Callable[[float], float]) -> list[Mark]:
    marks = []
    for attempt in attempts:
        steps = [r["step"] for r in attempt["records"] if r["event"] == "step"]
        marks += [
            Mark(x=x_of(record["step"]), text="resumed", kind="resume")
            for record in attempt["records"]
            if record["event"] == "resume"
        ]
        if attempt["killed"] and steps:
            text = f"node {attempt['killed']['node']} killed"
            marks.append(Mark(x=x_of(steps[-1]), text=text, kind="kill"))
    return marks


def _sentence(attempt: dict[str, Any], line: list[tuple[int, float]]) -> str:
    resumed = [r["step"] for r in attempt["records"] if r["event"] == "resume"]
    begin = f"from the checkpoint of step {resumed[0]}" if resumed else f"from step {line[0][0]}"
    killed = attempt["killed"]
    end = f", when node {killed['node']} was killed" if killed else ""
    return f"{begin} to step {line[-1][0]}{end}"
