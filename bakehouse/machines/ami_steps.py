"""Changes of AMIs: first told, then made one by one, so that each is known to be done or not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bakehouse.errors import BakehouseError


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call that changes something.

    Attributes:
        region: Where.
        target: Id of the AMI or snapshot that it changes.
        told: What it does, without the target: `set bakehouse:channel=stable`.
        make: Does it; raises BakehouseError if AWS refuses.
    """

    region: str
    target: str
    told: str
    make: Callable[[], None]

    def __str__(self) -> str:
        return f"{self.region}: {self.target}: {self.told}"

    def as_json(self, *, done: bool) -> dict[str, Any]:
        """For `--json`."""
        return {"region": self.region, "target": self.target, "step": self.told, "done": done}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How far steps got.

    Attributes:
        done: Those that were made.
        left: Those that were not, the one that failed first.
        error: Why it failed; None if nothing is left, or if nothing was tried.
    """

    done: Sequence[Step] = ()
    left: Sequence[Step] = ()
    error: BakehouseError | None = None

    def refuse(self) -> None:
        """Raise what went wrong, with what is done and what is not."""
        if self.error is None:
            return
        done = "".join(f"\n  done: {step}" for step in self.done)
        left = "".join(f"\n  not done: {step}" for step in self.left)
        raise type(self.error)(
            f"{self.error.what}{done}{left}", where=self.error.where, remedy=self.error.remedy
        ) from self.error

    def as_json(self) -> list[dict[str, Any]]:
        """For `--json`: all steps in order."""
        done = [step.as_json(done=True) for step in self.done]
        return done + [step.as_json(done=False) for step in self.left]


def carry_out(steps: Sequence[Step], tell: Callable[[Step], None]) -> Outcome:
    """Make the steps in order, up to the first that fails; `tell` hears of each that is made."""
    for number, step in enumerate(steps):
        try:
            step.make()
        except BakehouseError as error:
            return Outcome(done=steps[:number], left=steps[number:], error=error)
        tell(step)
    return Outcome(done=steps)
