"""One line per layer as it ends, and what runs now where somebody watches."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.markup import escape

from bakehouse.builder.buildkit import Event, OnEvent, Step
from bakehouse.builder.result import Layer
from bakehouse.console import progress

WIDTH = 40
"""Of a layer's name; a test case's are instructions of its Dockerfile."""


@contextmanager
def show(image: str, planned: list[Layer]) -> Iterator[OnEvent]:
    """Show the progress of a build; yields the callback for `buildkit.build`.

    Layers that are planned as cached are told in one line at the start.
    """
    cached = [layer.name for layer in planned if layer.cached]
    if cached:
        progress.print(f"  {image}  cached: {', '.join(cached)}")
    for layer in planned:
        if not layer.cached and layer.why:
            progress.print(f"  {image}  {layer.name}: {shortened(layer.why)}", markup=False)
    with progress.status(f"{image}: starting") as status:

        def on_event(event: Event, step: Step, line: str) -> None:
            name = step.name if len(step.name) <= WIDTH else f"{step.name[: WIDTH - 1]}…"
            if event == "line" and step.open_task is not None and line.startswith("TASK ["):
                status.update(escape(f"{image}: {name}: {step.open_task[0]}"))
            elif event == "start":
                status.update(escape(f"{image}: {name}"))
            elif event == "done":
                progress.print(f"  {image}  {name:<{WIDTH}} {step.seconds:>7.1f} s", markup=False)
            elif event == "cached" and name not in cached and step.marked:
                progress.print(f"  {image}  {name:<{WIDTH}} {'cached':>9}")

        yield on_event


def shortened(why: str, most: int = 3) -> str:
    """The first few of many reasons."""
    reasons = why.split("; ")
    more = f"; and {len(reasons) - most} more" if len(reasons) > most else ""
    return "; ".join(reasons[:most]) + more
