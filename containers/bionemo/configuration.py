"""What a training is told: a configurations/*.json file."""

import difflib
import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from model import Architecture
from training.records import WRONG_INPUT, Stop

T = TypeVar("T")
MAY_BE_ZERO = {"seed", "warmup_steps", "weight_decay"}
MAY_CHANGE = ("log_every", "checkpoint_every", "keep_checkpoints", "micro_batch_size")
"""What a resumed training may be told anew: it decides neither model, nor data, nor schedule."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One training; every key must be given."""

    architecture: Architecture
    seed: int
    length: int  # tokens of a sequence, at most; of longer ones a piece is seen
    steps: int  # of the whole training
    warmup_steps: int
    global_batch_size: int  # sequences of an optimizer step, over all ranks
    micro_batch_size: int  # sequences that a rank works on at once, at most
    learning_rate: float  # highest, after the warm-up; then it falls to a tenth, as the paper's
    weight_decay: float  # of matrices
    betas: list[float]  # of AdamW
    gradient_clip: float  # greatest norm
    precision: str  # of the forward and backward pass, fp32 or bf16; weights and sums are fp32
    log_every: int  # steps
    checkpoint_every: int  # steps
    keep_checkpoints: int  # newest ones

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (0 is the first): a straight rise, a straight fall."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (1 - 0.9 * done)


def load(path: Path) -> Configuration:
    """Read a file.

    Raises:
        Stop: A key is unknown or missing, a value of the wrong type or out of range; says which.
    """
    try:
        values = dict(json.loads(path.read_text(encoding="utf-8")))
        architecture = dict(values.pop("architecture"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"{path} is no configuration: {type(error).__name__} {error}"
        raise Stop(WRONG_INPUT, message) from error
    shape = _made(Architecture, architecture, path)
    config = _made(Configuration, {**values, "architecture": shape}, path)
    rules = {
        f"heads {shape.heads} must divide hidden {shape.hidden}": shape.hidden % shape.heads,
        f"a head of {shape.head} units must be even, to rotate them in pairs": shape.head % 2,
        "precision must be fp32 or bf16": config.precision not in ("fp32", "bf16"),
        "betas must be two numbers from 0 to below 1": not _are_betas(config.betas),
        "warmup_steps must be fewer than steps": config.warmup_steps >= config.steps,
        "a sequence has at least 8 tokens": config.length < 8,
    }
    if broken := [rule for rule, violated in rules.items() if violated]:
        raise Stop(WRONG_INPUT, f"{path}: {broken[0]}")
    return config


def _are_betas(values: list[Any]) -> bool:
    return len(values) == 2 and all(_fits(beta, float) and 0 <= beta < 1 for beta in values)


def _made(kind: type[T], values: dict[str, Any], path: Path) -> T:
    types = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    for name in values.keys() - types.keys():
        near = difflib.get_close_matches(name, types, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise Stop(WRONG_INPUT, f"{path}: {name}: there is no such setting{hint}")
    if missing := sorted(types.keys() - values.keys()):
        raise Stop(WRONG_INPUT, f"{path}: missing: {', '.join(missing)}")
    for name, value in values.items():
        if not _fits(value, types[name]):
            told = getattr(types[name], "__name__", str(types[name]))
            raise Stop(WRONG_INPUT, f"{path}: {name} is {value!r}; it must be {told}")
        if isinstance(value, int | float):
            least_allowed = value >= 0 if name in MAY_BE_ZERO else value > 0
            if not (least_allowed and value < math.inf):
                told = "at least 0" if name in MAY_BE_ZERO else "above 0"
                raise Stop(WRONG_INPUT, f"{path}: {name} is {value}; it must be {told}")
    return kind(**values)


def _fits(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, getattr(kind, "__origin__", kind)) and not isinstance(value, bool)
