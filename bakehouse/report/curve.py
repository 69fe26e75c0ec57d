"""The training curve as SVG: loss by step, where a node was killed, where the run went on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 860, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 30


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A vertical line with a word."""

    x: float
    text: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points and marks in the coordinates of the drawing."""

    lines: list[str]
    marks: list[Mark]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def curve(run: dict[str, Any] | None) -> Curve | None:
    """Lay out the losses of a run; None if there are fewer than two."""
    attempts = [
        [r for r in a["records"] if r["event"] == "step"] for a in (run or {}).get("attempts", [])
    ]
    points = [(r["step"], float(r["loss"])) for steps in attempts for r in steps]
    if len(points) < 2:
        return None
    last: int = max(step for step, _ in points)
    highest = max(loss for _, loss in points)

    def x_of(step: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * step / max(last, 1), 1)

    def y_of(loss: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * loss / max(highest, 1e-9), 1)

    lines = [
        " ".join(f"{x_of(r['step'])},{y_of(float(r['loss']))}" for r in steps) for steps in attempts
    ]
    return Curve(
        lines=[line for line in lines if line],
        marks=_marks(run or {}, x_of),
        x_ticks=[(x_of(last * n / 5), str(round(last * n / 5))) for n in range(6)],
        y_ticks=[(y_of(highest * n / 4), f"{highest * n / 4:.2f}") for n in range(5)],
    )


def _marks(run: dict[str, Any], x_of: Callable[[float], float]) -> list[Mark]:
    marks = []
    for attempt in run["attempts"]:
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
