"""What a training is told: a configurations/*.json file. Needs nothing but the standard library."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.configuration import are_betas, made, read, refuse_broken
from training.records import WRONG_INPUT, Stop

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
    values = read(path, "architecture")
    shape = made(Architecture, values["architecture"], path, may_be_zero=MAY_BE_ZERO)
    values["architecture"] = shape
    config = made(Configuration, values, path, may_be_zero=MAY_BE_ZERO)
    refuse_broken(_rules(config), path)
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
        "betas must be two numbers from 0 to below 1": (not are_betas(config.betas)),
    }
