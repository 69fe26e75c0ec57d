"""A decoder of the Llama family; each process has its stage's layers, and parts of them."""

from hashlib import sha256

import torch
from configuration import Configuration
from context import Context
from mesh import Mesh
from tensor import (
    ColumnLinear,
    RowLinear,
    TensorParallel,
    VocabularyEmbedding,
    cross_entropy,
    shard,
)
from torch import Tensor, nn
from torch.nn import functional

DEVIATION = 0.02
"""Of the first weights."""


class Norm(nn.Module):
    """Root mean square normalisation."""

    def __init__(self, config: Configuration, mesh: Mesh) -> None:
        super().__init__()
        self.weight = shard((config.hidden,), None, mesh.tensor)
        self.epsilon = config.norm_eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden] to the same."""
        return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


def rotation(positions: Tensor, units: int, theta: float, dtype: torch.dtype) -> Tensor:
    """Return cosines and sines of rotary positions: [2, positions, units / 2]."""
    powers = torch.arange(0, units, 2, device=positions.device, dtype=torch.float64) / units
    angles = torch.outer(positions.double(), theta**-powers)
    return torch.stack((angles.cos(), angles.sin())).to(dtype)


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the first half of a head's units against the second: [..., positions, units]."""
    first, second = x.chunk(2, dim=-1)
    cosine, sine = turn.to(x.dtype)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


class Attention(nn.Module):
    """Causal attention with grouped queries; heads are split by tensor parallelism."""

    def __init__(self, config: Configuration, mesh: Mesh, context: Context) -> None:
        super().__init__()
        self.units, self.context = config.hidden // config.heads, context
        kv = config.kv_heads * self.units
        self.q = ColumnLinear(config.hidden, config.hidden, mesh.tensor)
        self.k = ColumnLinear(config.hidden, kv, mesh.tensor)
        self.v = ColumnLinear(config.hidden, kv, mesh.tensor)
        self.out = RowLinear(config.hidden, config.hidden, mesh.tensor)

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        """[batch, positions, hidden] to the same, a part of the sum."""
        made = (matrix(x).unflatten(-1, (-1, self.units)) for matrix in (self.q, self.k, self.v))
        q, k, v = (heads.transpose(1, 2) for heads in made)
        mixed = self.context.attend(rotate(q, turn), rotate(k, turn), v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: Configuration, mesh: Mesh) -> None:
        super().__init__()
        self.gate = ColumnLinear(config.hidden, config.ffn, mesh.tensor)
        self.up = ColumnLinear(config.hidden, config.ffn, mesh.tensor)
        self.down = RowLinear(config.ffn, config.hidden, mesh.tensor)

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden] to the same, a part of the sum."""
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """One layer."""

    def __init__(
        self, config: Configuration, mesh: Mesh, split: TensorParallel, context: Context
    ) -> None:
        super().__init__()
        self.split = split
        self.attention_norm, self.ffn_norm = Norm(config, mesh), Norm(config, mesh)
        self.attention = Attention(config, mesh, context)
        self.ffn = FeedForward(config, mesh)

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        """[batch, positions, hidden] to the same; fewer positions with sequence parallelism."""
        split = self.split
        x = x + split.leave(self.attention(split.enter(self.attention_norm(x)), turn))
        return x + split.leave(self.ffn(split.enter(self.ffn_norm(x))))


class Stage(nn.Module):
    """What this process has of the model."""

    def __init__(self, config: Configuration, mesh: Mesh) -> None:
        super().__init__()
        self.config, self.mesh = config, mesh
        self.context = Context(mesh.context, config.context_method)
        self.split = TensorParallel(mesh.tensor, sequence_parallel=config.sequence_parallel)
        if mesh.first_stage:
            self.embedding = VocabularyEmbedding(config.vocabulary, config.hidden, mesh.tensor)
        mine = torch.arange(config.layers).tensor_split(mesh.pipeline.size)[mesh.pipeline.rank]
        self.layers = nn.ModuleDict(
            {str(number): Block(config, mesh, self.split, self.context) for number in mine.tolist()}
        )
        if mesh.last_stage:
            self.norm = Norm(config, mesh)
            self.output = ColumnLinear(config.hidden, config.vocabulary, mesh.tensor)

    def forward(self, received: Tensor | None, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return this stage's activations, or on the last one the sum of the tokens' losses.

        Args:
            received: Activations of the stage before; None on the first.
            tokens: int64 [batch, positions of this process].
            targets: As tokens.
        """
        config = self.config
        x = self.split.leave(self.embedding(tokens)) if received is None else received
        units, theta = config.hidden // config.heads, config.rope_theta
        positions = self.context.positions(config.sequence, tokens.device)
        turn = rotation(positions, units, theta, x.dtype)
        for block in self.layers.values():
            x = block(x, turn)
        if not self.mesh.last_stage:
            return x
        logits = self.output(self.split.enter(self.norm(x)))
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return cross_entropy(exact, targets, self.mesh.tensor).sum()

    def activations_shape(self, batch: int) -> tuple[int, int, int]:
        """Return the shape of what goes from stage to stage."""
        positions = self.config.sequence // self.mesh.context.size
        if self.split.sequence_parallel:
            positions //= self.mesh.tensor.size
        return batch, positions, self.config.hidden


@torch.no_grad()
def initialise(stage: Stage) -> None:
    """Fill the weights: the same model by every layout.

    Each weight is made whole, of a seed that its name gives, and this process's part is taken.
    """
    for name, parameter in stage.named_parameters():
        if len(parameter.full_shape) == 1:
            parameter.fill_(1.0)
            continue
        digest = sha256(f"{stage.config.seed} {name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:6], "big"))
        whole = torch.randn(parameter.full_shape, generator=generator) * DEVIATION
        part = whole.chunk(stage.mesh.tensor.size, parameter.split)[stage.mesh.tensor.rank]
        parameter.copy_(part)


def parameters_of(config: Configuration) -> tuple[int, int]:
    """Return how many weights the whole model has, and how many of them are the embedding's."""
    kv = config.hidden * config.kv_heads // config.heads
    layer = config.hidden * (2 * config.hidden + 2 * kv + 3 * config.ffn + 2)
    embedding = config.vocabulary * config.hidden
    return config.layers * layer + 2 * embedding + config.hidden, embedding


def flops_per_token(config: Configuration) -> float:
    """Return FLOPs of a forward and backward pass: PaLM's definition, attention not halved."""
    every, embedding = parameters_of(config)
    return 6.0 * (every - embedding) + 12.0 * config.layers * config.hidden * config.sequence
