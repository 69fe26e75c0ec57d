"""A configuration file, and what can be wrong with one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from training.configuration import change, made, read
from training.corpus import BYTES
from training.records import WRONG_INPUT, Stop


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
        if self.vocabulary < BYTES:
            raise Stop(WRONG_INPUT, f"vocabulary is {self.vocabulary}; the text has {BYTES} tokens")
        if self.width % (2 * self.heads):
            raise Stop(WRONG_INPUT, "width must be a multiple of twice the number of heads")
        for name in ("heads", "hidden", "vocabulary"):
            if getattr(self, name) % self.tensor:
                raise Stop(WRONG_INPUT, f"{name} must be a multiple of tensor ({self.tensor})")


MAY_BE_ZERO = ("seed", "warmup_steps", "weight_decay")
CHOICES = {"compute": ("float32", "bfloat16")}


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
