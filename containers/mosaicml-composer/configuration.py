"""A configuration file, and what can be wrong with one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from training.configuration import change, made, read
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


MAY_BE_ZERO = ("seed", "warmup_steps", "weight_decay")
CHOICES = {"sharding": ("none", "full")}


def load(path: Path, changes: Iterable[tuple[str, str]]) -> Configuration:
    """Read a file.

    Args:
        path: Where it is.
        changes: Names and values that the command line puts in place of the file's.

    Raises:
        Stop: It cannot be read, or a key is missing, unknown or of the wrong type.
    """
    values = read(path)
    change(changes, values)
    return made(Configuration, values, path, may_be_zero=MAY_BE_ZERO, choices=CHOICES)
