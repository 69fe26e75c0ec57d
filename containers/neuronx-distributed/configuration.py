"""What a training is told: a configurations/*.json file. Needs nothing but the standard library."""

import difflib
import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args

from training.records import WRONG_INPUT, Stop

T = TypeVar("T")
CHECKPOINTED = ("none", "selective", "full")
MAY_BE_ZERO = {"seed", "warmup_steps", "weight_decay"}
MAY_CHANGE = ("log_every", "checkpoint_every", "keep_checkpoints", "activation_checkpoints")
"""What a resumed training may be told anew: it decides neither model, nor data, nor schedule."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The shape of a Llama 3."""

    vocabulary: int
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    rope_theta: float
    norm_eps: float

    @property
    def head(self) -> int:
        """Units of an attention head."""
        return self.hidden // self.heads

    def parameters(self) -> int:
        """Return how many weights it has; embedding and output have matrices of their own."""
        hidden = self.hidden
        attention = 2 * hidden * hidden + 2 * hidden * self.kv_heads * self.head
        layer = attention + 3 * hidden * self.ffn + 2 * hidden
        return 2 * self.vocabulary * hidden + self.layers * layer + hidden

    def flops_per_token(self, length: int) -> float:
        """Return the FLOPs of a forward and backward pass for one of `length` tokens."""
        weights = self.parameters() - self.vocabulary * self.hidden
        return 6.0 * weights + 12.0 * self.layers * length * self.hidden


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One training; every key must be given."""

    architecture: Architecture
    tensor_parallel: int  # cores that share each layer
    pipeline_parallel: int  # groups of layers
    sequence_parallel: bool  # cores of a tensor-parallel group share the sequence between layers
    zero_1: bool  # data-parallel replicas share the optimizer's state
    flash_attention: bool  # the kernel of the Neuron Kernel Interface
    activation_checkpoints: str  # none, selective (attention alone) or full
    data: str | None  # a text file, or a folder of them; None: the text inside Python
    seed: int
    length: int  # tokens of a sequence
    steps: int  # of the whole training
    warmup_steps: int
    micro_batch_size: int  # sequences of a forward pass of one replica
    accumulations: int  # micro-batches of a replica in an optimizer step
    learning_rate: float
    weight_decay: float
    betas: list[float]
    gradient_clip: float
    log_every: int  # steps
    checkpoint_every: int  # steps
    keep_checkpoints: int  # newest ones

    @property
    def kv_multiplier(self) -> int:
        """How often each key and value head is repeated, so that all cores have one."""
        return max(1, self.tensor_parallel // self.architecture.kv_heads)

    def replicas(self, world_size: int) -> int:
        """In how many copies a number of processes trains the model.

        Raises:
            Stop: They cannot hold a whole number of copies.
        """
        copy = self.tensor_parallel * self.pipeline_parallel
        found, rest = divmod(world_size, copy)
        if rest or not found:
            told = f"{world_size} processes, but a copy of the model takes {copy} Neuron cores"
            cut = f"tensor {self.tensor_parallel} x pipeline {self.pipeline_parallel}"
            raise Stop(WRONG_INPUT, f"{told} ({cut}): start a multiple of {copy}")
        return found

    def global_batch_size(self, world_size: int) -> int:
        """Sequences of an optimizer step, over all replicas."""
        return self.replicas(world_size) * self.micro_batch_size * self.accumulations

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (0 is the first): a straight rise, then a cosine."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * min(1.0, done))) / 2)


def settings(config: Configuration) -> dict[str, Any]:
    """Return what neuronx_distributed_config is told, but for the classes of the model."""
    found: dict[str, Any] = {
        "tensor_parallel_size": config.tensor_parallel,
        "pipeline_parallel_size": config.pipeline_parallel,
        "sequence_parallel": config.sequence_parallel,
        "optimizer_config": {
            "zero_one_enabled": config.zero_1,
            "grad_clipping": True,
            "max_grad_norm": config.gradient_clip,
        },
        "mixed_precision_config": {
            "use_master_weights": True,
            "use_fp32_grad_acc": True,
            "use_master_weights_in_ckpt": False,
        },
    }
    if config.pipeline_parallel > 1:
        found["pipeline_config"] = {
            "num_microbatches": config.accumulations,
            "auto_partition": True,
            "output_loss_value_spec": True,
            "input_names": ["inputs", "targets"],
            "use_zero1_optimizer": config.zero_1,
            "use_optimizer_wrapper": True,
        }
    return found


def load(path: Path) -> Configuration:
    """Read a file.

    Raises:
        Stop: A key is unknown or missing, a value is wrong, or the model cannot be cut so.
    """
    try:
        values = dict(json.loads(path.read_text(encoding="utf-8")))
        architecture = dict(values.pop("architecture"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"{path} is no configuration: {type(error).__name__} {error}"
        raise Stop(WRONG_INPUT, message) from error
    shape = _made(Architecture, architecture, path)
    config = _made(Configuration, {**values, "architecture": shape}, path)
    if broken := [rule for rule, violated in _rules(config).items() if violated]:
        raise Stop(WRONG_INPUT, f"{path}: {broken[0]}")
    return config


def _rules(config: Configuration) -> dict[str, bool]:
    shape, tensor = config.architecture, config.tensor_parallel
    fewer, more = sorted((tensor, shape.kv_heads))
    return {
        f"heads {shape.heads} must divide hidden {shape.hidden}": bool(shape.hidden % shape.heads),
        f"kv_heads {shape.kv_heads} must divide heads {shape.heads}": bool(
            shape.heads % shape.kv_heads
        ),
        f"tensor_parallel {tensor} must divide heads {shape.heads}": bool(shape.heads % tensor),
        f"of tensor_parallel {tensor} and kv_heads {shape.kv_heads} one must divide the other": (
            bool(more % fewer)
        ),
        f"tensor_parallel {tensor} must divide ffn {shape.ffn}": bool(shape.ffn % tensor),
        f"tensor_parallel {tensor} must divide vocabulary {shape.vocabulary}": bool(
            shape.vocabulary % tensor
        ),
        f"tensor_parallel {tensor} must divide length {config.length}, with sequence_parallel": (
            config.sequence_parallel and bool(config.length % tensor)
        ),
        f"pipeline_parallel {config.pipeline_parallel} must divide layers {shape.layers}": bool(
            shape.layers % config.pipeline_parallel
        ),
        f"activation_checkpoints must be one of {', '.join(CHECKPOINTED)}": (
            config.activation_checkpoints not in CHECKPOINTED
        ),
        "warmup_steps must be fewer than steps": config.warmup_steps >= config.steps,
        "betas must be two numbers from 0 to below 1": (
            len(config.betas) != 2 or not all(0 <= beta < 1 for beta in config.betas)
        ),
    }


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
        if isinstance(value, int | float) and not isinstance(value, bool):
            enough = value >= 0 if name in MAY_BE_ZERO else value > 0
            if not (enough and value < math.inf):
                told = "at least 0" if name in MAY_BE_ZERO else "above 0"
                raise Stop(WRONG_INPUT, f"{path}: {name} is {value}; it must be {told}")
    return kind(**values)


def _fits(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(kind, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    plain = getattr(kind, "__origin__", kind)
    return isinstance(value, plain) and (kind is bool or not isinstance(value, bool))
