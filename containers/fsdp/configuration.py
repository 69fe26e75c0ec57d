"""What a training is told: a configurations/*.json file, and `--set NAME=VALUE` for parts of it."""

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args

from model import Architecture, RopeScaling
from training.records import WRONG_INPUT, Stop

T = TypeVar("T")
CHOICES = {"sharding": ("full", "hybrid"), "precision": ("fp32", "bf16")}
FRACTIONS = {"learning_rate", "final_learning_rate", "weight_decay", "gradient_clip", "norm_eps"}
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
    try:
        values = dict(json.loads(path.read_text()))
        architecture = dict(values.pop("architecture"))
        scaling = architecture.pop("rope_scaling")
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"{path} is no configuration: {type(error).__name__} {error}"
        raise Stop(WRONG_INPUT, message) from error
    names = {field.name for kind in (Architecture, Configuration) for field in fields(kind)}
    for name, text in changes.items():
        if name not in names - {"architecture", "rope_scaling"}:
            raise Stop(WRONG_INPUT, f"--set {name}: {_unknown(name, names)}")
        target = architecture if name in architecture else values
        target[name] = _value(text)
    rope = None if scaling is None else _made(RopeScaling, dict(scaling), path)
    shape = _made(Architecture, {**architecture, "rope_scaling": rope}, path)
    made = _made(Configuration, {**values, "architecture": shape}, path)
    _demand_possible(made, path)
    return made


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _unknown(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return "there is no such setting" + (f", did you mean {near[0]}?" if near else "")


def _made(kind: type[T], values: dict[str, Any], path: Path) -> T:
    types = {field.name: field.type for field in fields(kind)}
    for name in values.keys() - types.keys():
        raise Stop(WRONG_INPUT, f"{path}: {name}: {_unknown(name, set(types))}")
    if missing := sorted(types.keys() - values.keys()):
        raise Stop(WRONG_INPUT, f"{path}: missing: {', '.join(missing)}")
    for name, value in values.items():
        if not _fits(value, types[name]):
            told = getattr(types[name], "__name__", str(types[name]))
            raise Stop(WRONG_INPUT, f"{path}: {name} is {value!r}; it must be {told}")
        _demand_range(name, value, path)
    return kind(**values)


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    plain = getattr(kind, "__origin__", kind)
    return isinstance(value, plain) and (kind is bool or not isinstance(value, bool))


def _demand_range(name: str, value: Any, path: Path) -> None:
    if name in CHOICES and value not in CHOICES[name]:
        told = " or ".join(CHOICES[name])
        raise Stop(WRONG_INPUT, f"{path}: {name} is {value!r}; it must be {told}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    least = 0 if name in MAY_BE_ZERO | FRACTIONS else 1
    if not least <= value < math.inf or (value == 0 and name not in MAY_BE_ZERO):
        told = "above 0" if name in FRACTIONS - MAY_BE_ZERO else f"at least {least}"
        raise Stop(WRONG_INPUT, f"{path}: {name} is {value}; it must be {told}")


def _demand_possible(config: Configuration, path: Path) -> None:
    shape = config.architecture
    rules = {
        f"heads {shape.heads} must divide hidden {shape.hidden}": shape.hidden % shape.heads,
        f"kv_heads {shape.kv_heads} must divide heads {shape.heads}": shape.heads % shape.kv_heads,
        f"a head of {shape.head} units must be even, to rotate them in pairs": shape.head % 2,
        f"experts_per_token must be at most experts, {shape.experts}": (
            shape.experts_per_token > shape.experts
        ),
        "betas must be two numbers from 0 to below 1": (
            len(config.betas) != 2
            or not all(_fits(beta, float) and 0 <= beta < 1 for beta in config.betas)
        ),
        "warmup_steps must be fewer than steps": config.warmup_steps >= config.steps,
    }
    if broken := [rule for rule, violated in rules.items() if violated]:
        raise Stop(WRONG_INPUT, f"{path}: {broken[0]}")
