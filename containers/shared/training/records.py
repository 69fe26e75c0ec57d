"""What a training says: one JSON object per line on rank 0, and an exit status with a reason.

The reason may come from another rank: the first that ends lets launchers end all the others.
"""

import json
import os
import sys
import time
from collections.abc import Callable

WRONG_INPUT, DIVERGED = 2, 3
FIRST_S = 1.0
"""How long the others let rank 0 be the one that tells what all have found."""


class Stop(Exception):  # noqa: N818
    """Ends this process with an exit status (2 wrong input, 3 diverged) and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Log:
    """Prints the records of a run, on rank 0 alone."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def __call__(self, event: str, step: int, **values: object) -> None:
        """Print a record: `event`, `step`, and what else there is to say."""
        if self.rank == 0:
            print(json.dumps({"event": event, "step": step, **values}), flush=True)


def run(main: Callable[[], None]) -> None:
    """Run a rank and end the process: status 0, or that of the `Stop` that it raised, or 1."""
    status = 1
    try:
        main()
        status = 0
    except Stop as stop:
        status = stop.status
        _tell(stop)
    except BaseException:  # noqa: BLE001  # told like the interpreter does, which we do not let end
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a gloo thread that still holds a tensor when the interpreter is taken down
    # aborts the process, in about one of fifty runs (pytorch pull request 179291).
    os._exit(status)


def _tell(stop: Stop) -> None:
    rank = int(os.environ.get("RANK", "0"))
    record: dict[str, object] = {"event": "error", "status": stop.status, "message": stop.message}
    if rank:
        record["rank"] = rank
        time.sleep(FIRST_S)
    print(json.dumps(record), flush=True)
