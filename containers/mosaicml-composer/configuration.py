"""A configuration file, and what can be wrong with one."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from training.records import WRONG_INPUT, Stop

MODELS = {
    "mpt": ("vocabulary", "layers", "width", "heads", "length"),
    "resnet": ("channels", "blocks", "side"),
}
"""What describes a model of each kind."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One configurations/*.json file; every field must be given."""

    kind: str  # mpt or resnet
    model: dict[str, int]  # as MODELS says
    sharding: str  # none (DistributedDataParallel) or full (FSDP, on GPUs)
    precision: str  # as Composer's Trainer takes it: fp32 or amp_bf16
    seed: int
    steps: int
    warmup_steps: int
    global_batch_size: int  # sequences or images over all ranks
    micro_batch_size: int  # greatest that a rank computes at once
    learning_rate: float  # highest; falls along a cosine to a tenth of it
    weight_decay: float
    checkpoint_every: int  # steps
    keep_checkpoints: int  # newest ones
    validation_samples: int  # most

    def __post_init__(self) -> None:
        if self.kind not in MODELS or set(self.model) != set(MODELS[self.kind]):
            needed = "; ".join(f"{kind}: {', '.join(keys)}" for kind, keys in MODELS.items())
            raise Stop(WRONG_INPUT, f"model must be described as one of {needed}")
        if self.sharding not in ("none", "full"):
            raise Stop(WRONG_INPUT, f"sharding is {self.sharding}; it must be none or full")
        for field in fields(self):
            least = 0 if field.name in ("seed", "warmup_steps", "weight_decay") else 1e-12
            value = getattr(self, field.name)
            if isinstance(value, int | float) and value < least:
                raise Stop(WRONG_INPUT, f"{field.name} is {value}; it is too small")


def load(path: Path, changes: list[str]) -> Configuration:
    """Read a file.

    Args:
        path: Where it is.
        changes: NAME=VALUE that the command line puts in place of its values.

    Raises:
        Stop: It cannot be read, or a key is missing, unknown or of the wrong type.
    """
    try:
        values: dict[str, Any] = dict(json.loads(path.read_text()))
        for change in changes:
            name, _, value = change.partition("=")
            values[name] = json.loads(value)
    except (OSError, ValueError, TypeError) as error:
        raise Stop(WRONG_INPUT, f"{path} cannot be read: {error}") from error
    types = {field.name: field.type for field in fields(Configuration)}
    if wrong := sorted(values.keys() ^ types.keys()):
        raise Stop(WRONG_INPUT, f"{path}: missing or unknown keys: {', '.join(wrong)}")
    kinds = {int: (int,), float: (int, float), str: (str,)}
    for name, kind in types.items():
        if not isinstance(values[name], kinds.get(kind, (dict,))):
            raise Stop(WRONG_INPUT, f"{path}: {name} is {values[name]!r}")
    return Configuration(**values)
