"""What a training is told: a configurations/*.json file, and `--set NAME=VALUE` for parts of it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mesh import Layout
from training.configuration import change, made, read
from training.records import WRONG_INPUT, Stop

CHOICES = {
    "context_method": ("ring", "all_to_all"),
    "schedule": ("1f1b", "afab"),
    "precision": ("float32", "float64", "bfloat16"),
}
MAY_BE_ZERO = ("seed", "warmup_steps", "weight_decay")
MAY_CHANGE = (
    "context context_method sequence_parallel schedule micro_batch_size data "
    "held_out_windows log_every checkpoint_every keep_checkpoints"
)
"""What a resumed training may be told anew: it decides neither weights, nor their split, nor the
schedule of learning."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One training; every field must be given."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int  # of keys and values, which groups of heads share
    ffn: int  # width of the feed-forward layers
    vocabulary: int
    rope_theta: float
    norm_eps: float
    tensor: int  # processes that share each matrix
    pipeline: int  # processes that share the layers
    context: int  # processes that share each sequence
    sequence_parallel: bool  # among tensor parallel processes, outside their matrices
    context_method: str  # ring or all_to_all
    schedule: str  # of the pipeline: 1f1b or afab
    seed: int
    data: str  # english, or the path of a file or folder
    sequence: int  # tokens
    steps: int  # of the whole training
    warmup_steps: int
    global_batch_size: int  # sequences of an optimizer step, over all processes
    micro_batch_size: int  # sequences that a process works on at once
    learning_rate: float  # highest; a cosine leads to a tenth of it
    weight_decay: float  # of matrices
    gradient_clip: float  # greatest norm
    precision: str  # float32, float64, or bfloat16 with weights and sums in float32
    held_out_windows: int  # at most
    log_every: int  # steps
    checkpoint_every: int  # steps
    keep_checkpoints: int  # newest ones

    def rate(self, step: int) -> float:
        """Return the learning rate of a step; 0 is the first."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.55 + 0.45 * math.cos(math.pi * done))

    def layout(self, ranks: int) -> Layout:
        """Return how some processes share this training.

        Raises:
            Stop: They cannot; says which number must divide which.
        """
        layout = Layout.of(ranks, self.pipeline, self.context, self.tensor)
        share = self.global_batch_size / layout.data
        pieces = self.context * (2 if self.context > 1 and self.context_method == "ring" else 1)
        inside = self.tensor if self.sequence_parallel else 1
        if not self.sequence % pieces:
            pieces, inside = 1, self.context * inside
        heads = self.tensor * (self.context if self.context_method == "all_to_all" else 1)
        for name, value, parts, what in (
            ("global_batch_size", self.global_batch_size, layout.data, "data parallel processes"),
            ("a process's share of a batch", share, self.micro_batch_size, "micro_batch_size"),
            ("sequence", self.sequence, pieces, "pieces of context parallelism"),
            ("sequence", self.sequence, inside, "context and sequence parallel processes"),
            ("kv_heads", self.kv_heads, heads, "processes that share the heads"),
            ("ffn", self.ffn, self.tensor, "tensor parallel processes"),
            ("vocabulary", self.vocabulary, self.tensor, "tensor parallel processes"),
        ):
            if value % parts:
                raise Stop(WRONG_INPUT, f"{name} is {value:g}: no multiple of {parts} ({what})")
        if self.layers < self.pipeline:
            message = f"{self.layers} layers are too few for a pipeline of {self.pipeline} stages"
            raise Stop(WRONG_INPUT, message)
        return layout


def load(path: Path, changes: Iterable[tuple[str, str]] = ()) -> Configuration:
    """Read a file, with some values changed.

    Args:
        path: JSON; every key must be there, and no other.
        changes: Names, and their values as JSON or plain text.

    Raises:
        Stop: A key is unknown or missing, a value of the wrong type or out of range; says which.
    """
    values = read(path)
    change(changes, values)
    config = made(Configuration, values, path, may_be_zero=MAY_BE_ZERO, choices=CHOICES)
    if config.hidden % (2 * config.heads) or config.heads % config.kv_heads:
        told = f"hidden {config.hidden}, heads {config.heads}, kv_heads {config.kv_heads}"
        rule = "kv_heads must divide heads, and twice the heads hidden"
        raise Stop(WRONG_INPUT, f"{path}: {told}: {rule}")
    return config
