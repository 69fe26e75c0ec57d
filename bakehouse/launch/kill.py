"""When to kill a node on purpose, decided from the records alone."""

from dataclasses import dataclass, field
from typing import Any

STEPS_AFTER_CHECKPOINT = 2


@dataclass(kw_only=True)
class KillPlan:
    """Kill `node` once `after_step` is logged, and a checkpoint and some steps after it are there.

    Those steps are then done again after the resume, which shows whether they come out the same.

    Attributes:
        node: Number of the node.
        after_step: Least step that must have been logged.
    """

    node: int
    after_step: int
    step: int = 0
    checkpoint: int | None = None
    _since: int = field(default=0, init=False)

    def saw(self, record: dict[str, Any]) -> bool:
        """Take notice of a record; true if now is the time."""
        if record["event"] == "checkpoint":
            self.checkpoint, self._since = int(record["step"]), 0
        if record["event"] == "step":
            self.step = int(record["step"])
            self._since += 1
        return (
            self.checkpoint is not None
            and self.step >= self.after_step
            and self._since >= STEPS_AFTER_CHECKPOINT
        )
