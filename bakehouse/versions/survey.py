"""Asking many targets at once: one that is dead or hangs does not hold the others."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from bakehouse.launch.interruption import interruptible
from bakehouse.versions.reach import Answer, Children, Way, ask
from bakehouse.versions.targets import Target


def survey(
    targets: Sequence[Target], way: Way, parallel: int, tell: Callable[[Answer], None]
) -> list[Answer]:
    """Ask all targets, each once; answers are in the order of the targets.

    Args:
        targets: What to ask.
        way: How to reach it.
        parallel: How many to ask at the same time.
        tell: Called with each answer as it comes.

    Raises:
        KeyboardInterrupt: At an interrupt, once all that runs has been ended.
    """
    wanted = list(dict.fromkeys(targets))
    children = Children()
    answers: dict[Target, Answer] = {}
    workers = max(1, min(parallel, len(wanted)))
    with interruptible(children.end), ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(ask, target, way, children) for target in wanted]
        for future in as_completed(futures):
            answer = future.result()
            answers[answer.target] = answer
            tell(answer)
    if children.closed:
        raise KeyboardInterrupt
    return [answers[target] for target in wanted]
