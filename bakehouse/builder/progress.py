"""One line per layer as it ends, and what runs now where somebody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bakehouse.builder.buildkit import Step
from bakehouse.console import progress


@contextmanager
def show(image: str) -> Iterator[Callable[[str, Step, str], None]]:
    """Show the progress of a build of `image`; yields the callback for `buildkit.build`."""
    with progress.status(f"{image}: starting") as status:

        def on_event(event: str, step: Step, line: str) -> None:
            if event == "line" and line.startswith("TASK ["):
                status.update(f"{image}: {line[6:].split(']', maxsplit=1)[0]}")
            elif event == "start":
                status.update(f"{image}: {step.name}")
            elif event in {"done", "cached"}:
                time = "cached" if event == "cached" else f"{step.seconds:.1f} s"
                progress.print(f"  {image}  {step.name:<20} {time:>9}")

        yield on_event
