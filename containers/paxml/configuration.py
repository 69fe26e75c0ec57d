"""A configuration file, and what can be wrong with one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from training.configuration import change, made, read, refuse_broken
from training.corpus import BYTES


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One configurations/*.json file; every field must be given."""

    vocabulary: int  # tokens; the text's are bytes, so that 256 is enough
    layers: int
    width: int
    head: int  # width of an attention head
    hidden: int  # of the feed-forward part
    length: int  # tokens that the model sees at once
    compute: str  # float32 or bfloat16: what the layers compute in; weights are float32
    seed: int
    steps: int
    warmup_steps: int
    decay_steps: int  # the rate falls exponentially to a tenth from the warm-up to here
    global_batch_size: int  # windows over all processes
    learning_rate: float  # highest
    weight_decay: float
    log_every: int  # steps
    checkpoint_every: int  # steps
    keep_checkpoints: int  # newest ones


MAY_BE_ZERO = ("seed", "weight_decay")
CHOICES = {"compute": ("float32", "bfloat16")}


def load(path: Path, changes: Iterable[tuple[str, str]] = ()) -> Configuration:
    """Read a file.

    Args:
        path: Where it is.
        changes: Names and values that the command line puts in place of the file's.

    Raises:
        Stop: It cannot be read, or a key is missing, unknown, of the wrong type, or breaks a rule.
    """
    values = read(path)
    change(changes, values)
    config = made(Configuration, values, path, may_be_zero=MAY_BE_ZERO, choices=CHOICES)
    rules = {
        f"vocabulary must be at least {BYTES}, one for each byte": config.vocabulary < BYTES,
        "width must be a multiple of head": config.width % config.head,
        "decay_steps must be more than warmup_steps": config.decay_steps <= config.warmup_steps,
    }
    refuse_broken(rules, path)
    return config
