"""Bus bandwidth by size as a drawing: both axes in powers, one line for each operation."""

import math
from collections.abc import Callable
from importlib import resources

from jinja2 import Environment, StrictUndefined

from bakehouse.bench.measurements import Measurement, Measurements

WIDTH, HEIGHT, LEFT, TOP = 720, 400, 80, 30
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2")


def svg(measurements: Measurements, title: str) -> str:
    """The drawing, as SVG that needs nothing else."""
    low_x, high_x = _bounds([one.bytes for one in measurements.found], 2)
    low_y, high_y = _bounds([one.busbw for one in measurements.found], 10)

    def place(size: float, busbw: float) -> tuple[float, float]:
        x = LEFT + WIDTH * (math.log2(size) - low_x) / (high_x - low_x)
        y = TOP + HEIGHT * (high_y - math.log10(busbw)) / (high_y - low_y)
        return round(x, 1), round(y, 1)

    template = resources.files("bakehouse.bench").joinpath("plot.svg.j2").read_text("utf-8")
    environment = Environment(undefined=StrictUndefined, autoescape=True)
    return environment.from_string(template).render(
        title=title,
        box=(LEFT, TOP, WIDTH, HEIGHT),
        lines=[
            (name, COLOURS[n % len(COLOURS)], _points(measurements.of(name), place))
            for n, name in enumerate(measurements.operations)
        ],
        x_ticks=[(place(2.0**n, 10.0**low_y)[0], size_text(2**n)) for n in _ticks(low_x, high_x)],
        y_ticks=[(place(2.0**low_x, 10.0**n)[1], f"{10.0**n:g}") for n in range(low_y, high_y + 1)],
    )


def size_text(size: int) -> str:
    """A size as people write it: 8 B, 64 KiB, 1 GiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:g} {unit}"
        value /= 1024
    return f"{value:g} GiB"


def _bounds(values: list[float] | list[int], base: int) -> tuple[int, int]:
    logs = [math.log(value, base) for value in values if value > 0] or [0.0]
    low, high = math.floor(min(logs) + 1e-9), math.ceil(max(logs) - 1e-9)
    return low, max(high, low + 1)


def _ticks(low: int, high: int) -> range:
    return range(low, high + 1, max(1, (high - low) // 8))


def _points(found: list[Measurement], place: Callable[[float, float], tuple[float, float]]) -> str:
    drawn = [place(one.bytes, one.busbw) for one in found if one.busbw > 0]
    return " ".join(f"{x},{y}" for x, y in drawn)
