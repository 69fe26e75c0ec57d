"""What a training is told: a configurations/*.json file, and `--set NAME=VALUE` for parts of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model import Architecture, RopeScaling
from training.configuration import are_betas, change, made, read, refuse_broken
from training.records import WRONG_INPUT, Stop

CHOICES = {"sharding": ("full", "hybrid"), "precision": ("fp32", "bf16")}
MAY_BE_ZERO = {"seed", "warmup_steps", "weight_decay", "final_learning_rate"}
MAY_CHANGE = (
    "sharding shard_ranks recompute compile micro_batch_size validation_every "
    "validation_batch_size validation_windows log_every checkpoint_every keep_checkpoints"
)
"""What a resumed training may be told anew: it decides neither model, nor data, nor schedule."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One training; every field must be given."""

    architecture: Architecture
    seed: int
    data: str  # english, python, a path, or hub:NAME[:SUBSET]; see data.py
    tokenizer: str | None  # tokenizer.json of the tokenizers package; None: a token is a byte
    context: int  # tokens of a sequence
    steps: int  # of the whole training
    warmup_steps: int
    global_batch_size: int  # sequences of an optimizer step, over all ranks
    micro_batch_size: int  # sequences that a rank works on at once, at most
    learning_rate: float  # highest, after the warm-up
    final_learning_rate: float  # that the cosine ends at
    weight_decay: float  # of matrices
    betas: list[float]  # of AdamW
    gradient_clip: float  # greatest norm
    sharding: str  # full: over all ranks; hybrid: over shard_ranks, with replicas of those
    shard_ranks: int | None  # of hybrid sharding; None: the ranks of a node
    precision: str  # of the forward and backward pass; master weights and sums are fp32
    recompute: bool  # activations, in the backward pass
    compile: bool  # blocks, by torch.compile; takes a C++ compiler
    validation_every: int  # steps
    validation_batch_size: int  # sequences of a rank
    validation_windows: int | None  # sequences of the held-out text; None: all of them
    log_every: int  # steps
    checkpoint_every: int  # steps
    keep_checkpoints: int  # newest ones

    def micro_batches(self, ranks: int) -> int:
        """In how many turns a rank does its share of a global batch.

        Raises:
            Stop: The ranks cannot have equal shares, or a share no equal turns.
        """
        share, rest = divmod(self.global_batch_size, ranks)
        if rest:
            message = f"{ranks} ranks do not divide global_batch_size, {self.global_batch_size}"
            raise Stop(WRONG_INPUT, message)
        turns = math.ceil(share / self.micro_batch_size)
        if share % turns:
            message = f"a rank has {share} sequences of a step, which {turns} turns do not divide"
            raise Stop(WRONG_INPUT, f"{message}; change micro_batch_size or global_batch_size")
        return turns

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (0 is the first): a straight rise, then a cosine."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        fall = (1 + math.cos(math.pi * min(1.0, done))) / 2
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * fall


def load(path: Path, changes: Mapping[str, str]) -> Configuration:
    """Read a file, with some values changed.

    Args:
        path: JSON; every key must be there, and no other.
        changes: Names, also of the architecture's fields, and their values as JSON or plain text.

    Raises:
        Stop: A key is unknown or missing, a value of the wrong type or out of range; says which.
    """
    values = read(path, "architecture")
    architecture = values.pop("architecture")
    change(changes.items(), architecture, values)
    if isinstance(scaling := architecture.get("rope_scaling"), dict):
        architecture["rope_scaling"] = made(RopeScaling, scaling, path)
    values["architecture"] = made(Architecture, architecture, path, may_be_zero=MAY_BE_ZERO)
    config = made(Configuration, values, path, may_be_zero=MAY_BE_ZERO, choices=CHOICES)
    _demand_possible(config, path)
    return config


def _demand_possible(config: Configuration, path: Path) -> None:
    shape = config.architecture
    rules = {
        f"heads {shape.heads} must divide hidden {shape.hidden}": shape.hidden % shape.heads,
        f"kv_heads {shape.kv_heads} must divide heads {shape.heads}": shape.heads % shape.kv_heads,
        f"a head of {shape.head} units must be even, to rotate them in pairs": shape.head % 2,
        f"experts_per_token must be at most experts, {shape.experts}": (
            shape.experts_per_token > shape.experts
        ),
        "betas must be two numbers from 0 to below 1": not are_betas(config.betas),
        "warmup_steps must be fewer than steps": config.warmup_steps >= config.steps,
    }
    refuse_broken(rules, path)
