"""A configuration file, and what can be wrong with one."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

from training.records import WRONG_INPUT, Stop
from training.text import BYTES


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One configurations/*.json file; every field must be given."""

    vocabulary: int  # tokens; the text's are bytes, so that 256 is enough
    layers: int
    width: int
    heads: int  # each width / heads wide
    hidden: int  # of the feed-forward part
    length: int  # tokens that the model sees at once
    compute: str  # float32 or bfloat16: what the layers compute in; weights are float32
    recompute: bool  # each layer's activations again in the backward pass, to save memory
    tensor: int  # processes that hold one copy of the model; the rest is data parallelism
    seed: int
    steps: int
    warmup_steps: int
    global_batch_size: int  # windows over all processes
    learning_rate: float  # highest; falls along a cosine to a tenth of it
    weight_decay: float
    clip: float  # greatest norm of the gradient
    log_every: int  # steps
    checkpoint_every: int  # steps
    keep_checkpoints: int  # newest ones
    validation_windows: int  # of the held-out text

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name in MAY_BE_ZERO else 1
            if field.type is float and value < 0:
                raise Stop(WRONG_INPUT, f"{field.name} is {value}; it must not be negative")
            if field.type is int and value < least:
                raise Stop(WRONG_INPUT, f"{field.name} is {value}; it must be {least} or more")
        if self.compute not in ("float32", "bfloat16"):
            raise Stop(WRONG_INPUT, f"compute is {self.compute}; it must be float32 or bfloat16")
        if self.vocabulary < BYTES:
            raise Stop(WRONG_INPUT, f"vocabulary is {self.vocabulary}; the text has {BYTES} tokens")
        if self.width % (2 * self.heads):
            raise Stop(WRONG_INPUT, "width must be a multiple of twice the number of heads")
        for name in ("heads", "hidden", "vocabulary"):
            if getattr(self, name) % self.tensor:
                raise Stop(WRONG_INPUT, f"{name} must be a multiple of tensor ({self.tensor})")


MAY_BE_ZERO = ("seed", "warmup_steps")


def load(path: Path, changes: list[str]) -> Configuration:
    """Read a file.

    Args:
        path: Where it is.
        changes: NAME=VALUE that the command line puts in place of its values.

    Raises:
        Stop: It cannot be read, or a key is missing, unknown or of the wrong type.
    """
    try:
        values = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise Stop(WRONG_INPUT, f"{path} cannot be read: {error}") from error
    types = {field.name: field.type for field in fields(Configuration)}
    for change in changes:
        name, _, value = change.partition("=")
        values[name] = value if types.get(name) is str else _number(name, value)
    if wrong := sorted(values.keys() ^ types.keys()):
        raise Stop(WRONG_INPUT, f"{path}: missing or unknown keys: {', '.join(wrong)}")
    for name, kind in types.items():
        accepted = (int, float) if kind is float else kind
        right_truth = isinstance(values[name], bool) == (kind is bool)
        if not right_truth or not isinstance(values[name], accepted):
            raise Stop(
                WRONG_INPUT, f"{path}: {name} is {values[name]!r}; it must be {kind.__name__}"
            )
    return Configuration(**values)


def _number(name: str, value: str) -> int | float | bool:
    try:
        return json.loads(value)
    except ValueError as error:
        raise Stop(WRONG_INPUT, f"--set {name}={value}: that is no number") from error
