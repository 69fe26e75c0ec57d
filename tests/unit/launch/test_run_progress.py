"""What a person sees of a run without a terminal."""

from io import StringIO

from rich.console import Console

from bakehouse.launch.progress import RunProgress


def test_the_milestones_are_told_and_not_each_step() -> None:
    text = StringIO()
    with RunProgress(Console(file=text, width=200)) as progress:
        progress.began(1)
        progress.saw({"event": "start", "world_size": 4, "configuration": {"steps": 300}})
        for step in range(100):
            progress.saw({"event": "step", "step": step, "loss": 1.0})
        progress.killed(1, 99)
        progress.began(2)
        progress.saw({"event": "resume", "step": 80})
        progress.saw({"event": "error", "message": "[bold]nan[/bold]"})
        progress.saw({"event": "final", "step": 300, "accuracy": 0.97})
    lines = [line.split("attempt ")[1] for line in text.getvalue().splitlines()]
    assert lines == [
        "1: starting the nodes",
        "1: 4 processes have met",
        "1: step 99: killed node 1, waiting for the others to notice",
        "2: starting the nodes",
        "2: resumed from the checkpoint of step 80",
        "2: the training stops itself: [bold]nan[/bold]",
        "2: step 300: accuracy 0.9700 on held-out samples",
    ]
