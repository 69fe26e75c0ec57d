"""One process at a time where two would disturb each other."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from bakehouse import layout
from bakehouse.console import progress


@contextmanager
def only_one(name: str, what: str) -> Iterator[None]:
    """Hold the lock `name`; whoever has to wait is told for what.

    The kernel releases it when the process ends, however it ends.
    """
    path = layout.STATE / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.print(f"{what} is at work in another process; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
