"""What a training is told: one configurations/*.json file, every key of which must be there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.configuration import are_betas, change, made, read, refuse_broken
from training.records import WRONG_INPUT, Stop

CHOICES = {
    "positions": ("learned", "rope"),
    "precision": ("fp32", "bf16"),
    "recompute": ("none", "selective", "full"),
    "layers_from": ("megatron", "transformer_engine"),
    "first_weights": ("by_name", "megatron"),
}
MAY_BE_ZERO = {"seed", "warmup_steps", "weight_decay", "final_learning_rate", "gradient_clip"}
MAY_CHANGE = (
    "tensor pipeline context sequence_parallel micro_batch_size recompute validation_windows "
    "log_every checkpoint_every keep_checkpoints"
)
"""What a resumed training may be told anew: it decides neither model, nor data, nor schedule."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The shape of a decoder. `llama` is RMSNorm, SwiGLU and no biases; else it is GPT-3's."""

    layers: int
    hidden: int
    heads: int
    groups: int  # of key-value heads; as many as heads: no grouping
    ffn: int
    vocabulary: int  # rounded up, so that tensor parallelism divides it
    positions: str
    rope_theta: float  # of rope alone
    llama: bool
    tied_embeddings: bool

    def parameters(self, sequence_length: int) -> int:
        """Count the weights, of which learned positions depend on the sequence length."""
        h, head = self.hidden, self.hidden // self.heads
        qkv_rows = h + 2 * self.groups * head
        matrices = qkv_rows * h + h * h + (3 if self.llama else 2) * h * self.ffn
        biases = 0 if self.llama else qkv_rows + h + self.ffn + h
        norm = h if self.llama else 2 * h
        positions = sequence_length * h if self.positions == "learned" else 0
        embeddings = self.vocabulary * h * (1 if self.tied_embeddings else 2)
        return self.layers * (matrices + biases + 2 * norm) + norm + positions + embeddings

    def flops_per_token(self, sequence_length: int) -> float:
        """FLOPs of forward and backward: 6 for each weight of a matrix that a token meets, and 12
        for each layer, token attended to and hidden unit (PaLM's definition)."""
        h, head = self.hidden, self.hidden // self.heads
        layer = h * (h + 2 * self.groups * head) + h * h + (3 if self.llama else 2) * h * self.ffn
        weights = self.layers * layer + self.vocabulary * h
        return 6.0 * weights + 12.0 * self.layers * h * sequence_length


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One training."""

    architecture: Architecture
    tensor: int  # processes that share each matrix
    pipeline: int  # stages of layers
    context: int  # processes that share a sequence; takes Transformer Engine
    sequence_parallel: bool  # norms, too, are shared by the tensor-parallel processes
    distributed_optimizer: bool  # its state is shared by the data-parallel processes
    layers_from: str  # Megatron's own modules in torch, or Transformer Engine's
    first_weights: str  # by_name: the same with any split; megatron: drawn on the GPU
    seed: int
    sequence_length: int
    steps: int
    warmup_steps: int
    global_batch_size: int  # sequences of a step
    micro_batch_size: int  # sequences that a pipeline stage works on at once
    learning_rate: float  # highest, after the warm-up
    final_learning_rate: float  # that the cosine ends at
    weight_decay: float  # of matrices
    betas: list[float]  # of Adam
    gradient_clip: float  # greatest norm; 0: gradients are not clipped
    initial_deviation: float  # of the first weights
    precision: str
    recompute: str  # of activations, in the backward pass
    validation_windows: int  # held-out sequences, at most
    log_every: int
    checkpoint_every: int
    keep_checkpoints: int

    def data_parallel(self, ranks: int) -> int:
        """Return how many copies of the model there are.

        Raises:
            Stop: The processes cannot be split so, or the batch cannot be dealt to the copies.
        """
        whole = self.tensor * self.pipeline * self.context
        copies, rest = divmod(ranks, whole)
        if rest or not copies:
            raise Stop(
                WRONG_INPUT,
                f"{ranks} processes cannot hold copies of a model that is split over {whole}: "
                f"tensor {self.tensor} x pipeline {self.pipeline} x context {self.context}",
            )
        if self.global_batch_size % (copies * self.micro_batch_size):
            raise Stop(
                WRONG_INPUT,
                f"global_batch_size {self.global_batch_size} is no multiple of {copies} copies of "
                f"the model x micro_batch_size {self.micro_batch_size}",
            )
        return copies


def load(path: Path, changes: Mapping[str, str]) -> Configuration:
    """Read a file, with some values changed.

    Args:
        path: JSON.
        changes: Names, also of the architecture's fields, and their values as JSON or plain text.

    Raises:
        Stop: A key is unknown or missing, or a value is wrong; says which.
    """
    values = read(path, "architecture")
    shape = values.pop("architecture")
    change(changes.items(), shape, values)
    limits: dict[str, Any] = {"may_be_zero": MAY_BE_ZERO, "choices": CHOICES}
    values["architecture"] = made(Architecture, shape, path, **limits)
    config = made(Configuration, values, path, **limits)
    _demand_possible(config, path)
    return config


def _demand_possible(config: Configuration, path: Path) -> None:
    shape, tensor = config.architecture, config.tensor
    rules = {
        f"heads {shape.heads} must divide hidden {shape.hidden}": shape.hidden % shape.heads,
        f"groups {shape.groups} must divide heads {shape.heads}": shape.heads % shape.groups,
        f"tensor {tensor} must divide heads {shape.heads}": shape.heads % tensor,
        f"tensor {tensor} must divide groups {shape.groups}": shape.groups % tensor,
        f"tensor {tensor} must divide vocabulary {shape.vocabulary}": shape.vocabulary % tensor,
        f"pipeline {config.pipeline} must divide layers {shape.layers}": (
            shape.layers % config.pipeline
        ),
        f"tensor {tensor} must divide sequence_length {config.sequence_length}": (
            config.sequence_parallel and config.sequence_length % tensor
        ),
        "sequence_parallel needs tensor above 1": config.sequence_parallel and tensor == 1,
        "context above 1 needs layers_from transformer_engine": (
            config.context > 1 and config.layers_from == "megatron"
        ),
        f"2 x context {config.context} must divide sequence_length {config.sequence_length}": (
            config.context > 1 and config.sequence_length % (2 * config.context)
        ),
        "betas must be two numbers from 0 to below 1": not are_betas(config.betas),
        "warmup_steps must be fewer than steps": config.warmup_steps >= config.steps,
    }
    refuse_broken(rules, path)
