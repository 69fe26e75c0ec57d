"""When a node is killed."""

from bakehouse.launch.kill import KillPlan


def moment(events: list[tuple[str, int]], *, after_step: int) -> tuple[str, int] | None:
    plan = KillPlan(node=1, after_step=after_step)
    due = (e for e in events if plan.saw({"event": e[0], "step": e[1]}))
    return next(due, None)


def training(steps: int, checkpoint_every: int) -> list[tuple[str, int]]:
    events = [("start", 0)]
    for step in range(1, steps + 1):
        events.append(("step", step))
        if step % checkpoint_every == 0:
            events.append(("checkpoint", step))
    return events


def test_not_before_the_step() -> None:
    assert moment(training(100, 10), after_step=25) == ("step", 25)


def test_not_before_there_is_a_checkpoint() -> None:
    assert moment(training(100, 40), after_step=5) == ("step", 42)


def test_not_before_steps_after_the_checkpoint_can_be_done_again() -> None:
    assert moment(training(100, 10), after_step=31) == ("step", 32)


def test_never_if_the_training_is_too_short() -> None:
    assert moment(training(20, 10), after_step=50) is None


def test_never_without_checkpoints() -> None:
    assert moment(training(100, 1000), after_step=50) is None
