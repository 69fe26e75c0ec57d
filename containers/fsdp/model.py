"""A decoder of the Llama family: RMSNorm, rotary positions, grouped queries, SwiGLU, experts.

Plain torch. A model is built on the meta device, sharded, made real with `to_empty`, and then
initialised: every weight depends on the seed, its name and its place alone, so that any number of
ranks starts from one and the same model, and none ever holds the whole of it.
Sources: Touvron et al. 2023 (Llama 2), Grattafiori et al. 2024 (Llama 3), Jiang et al. 2024
(Mixtral).
"""

import math
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.functional import cross_entropy, embedding, linear, scaled_dot_product_attention, silu
from torch.utils.checkpoint import checkpoint

ROWS_AT_ONCE = 256  # that are drawn from one seed: a rank draws no more than it holds, and two such


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """Llama 3.1's stretching of slow rotations, as its `config.json` names it."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int  # tokens of the model before it was stretched


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What decides the shapes of a model."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int  # width of a feed-forward network, or of one expert
    vocabulary: int
    rope_theta: float
    rope_scaling: RopeScaling | None
    norm_eps: float
    tied_embeddings: bool  # the output projection is the embedding
    experts: int  # of a layer; 1: no mixture
    experts_per_token: int

    @property
    def head(self) -> int:
        """Width of a head."""
        return self.hidden // self.heads

    def parameters(self, experts: int | None = None) -> int:
        """Number of weights; with `experts` of a layer counted (all of them for None)."""
        attention = 2 * self.hidden * self.head * (self.heads + self.kv_heads)
        network = 3 * self.hidden * self.ffn * (experts or self.experts)
        router = self.hidden * self.experts if self.experts > 1 else 0
        layer = attention + network + router + 2 * self.hidden
        vocabularies = 1 if self.tied_embeddings else 2
        return self.layers * layer + self.hidden + vocabularies * self.vocabulary * self.hidden

    def flops_per_token(self, context: int) -> int:
        """FLOPs of a training step for one token of a sequence of `context` tokens.

        As Chowdhery et al. 2022 (PaLM, appendix B) define them for the MFU: six for each weight
        that the token is multiplied with, and twelve for each layer, token attended to and hidden
        unit. The half that causality saves is counted, what is computed again is not.
        """
        lookup = 0 if self.tied_embeddings else self.vocabulary * self.hidden
        norms = (2 * self.layers + 1) * self.hidden
        multiplied = self.parameters(self.experts_per_token) - lookup - norms
        return 6 * multiplied + 12 * self.layers * self.hidden * context


class RMSNorm(nn.Module):
    """Division by the root of the mean square, computed in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.empty(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> the same."""
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.eps)
        return (wide * scale).type_as(x) * self.weight


def rotations(shape: Architecture, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of `length` positions, fp32, each [length, head]."""
    steps = torch.arange(0, shape.head, 2, device=device, dtype=torch.float32)
    frequency = shape.rope_theta ** -(steps / shape.head)
    if (scaling := shape.rope_scaling) is not None:
        turns = scaling.original_context * frequency / (2 * math.pi)
        span = scaling.high_freq_factor - scaling.low_freq_factor
        kept = ((turns - scaling.low_freq_factor) / span).clamp(0, 1)
        frequency = kept * frequency + (1 - kept) * frequency / scaling.factor
    positions = torch.arange(length, device=device, dtype=torch.float32)
    angles = torch.outer(positions, frequency).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of units, each with the one half a head away: [batch, heads, length, head]."""
    first, second = x.float().chunk(2, dim=-1)
    return (x.float() * cos + torch.cat((-second, first), dim=-1) * sin).type_as(x)


class Attention(nn.Module):
    """Causal attention in which several query heads share a key and value head."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.head, narrow = shape.head, shape.kv_heads * shape.head
        self.query = nn.Linear(shape.hidden, shape.heads * shape.head, bias=False)
        self.key = nn.Linear(shape.hidden, narrow, bias=False)
        self.value = nn.Linear(shape.hidden, narrow, bias=False)
        self.out = nn.Linear(shape.heads * shape.head, shape.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[batch, length, hidden] -> the same."""
        parts = (self.query(x), self.key(x), self.value(x))
        q, k, v = (part.unflatten(-1, (-1, self.head)).transpose(1, 2) for part in parts)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU, of one network."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.hidden, shape.ffn, bias=False)
        self.up = nn.Linear(shape.hidden, shape.ffn, bias=False)
        self.down = nn.Linear(shape.ffn, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden] -> the same."""
        return self.down(silu(self.gate(x)) * self.up(x))


class Experts(nn.Module):
    """SwiGLU, of the few networks that a router picks for each token, weighted by its softmax.

    No token is dropped and no balance is enforced, so the result depends on the token alone. The
    experts lie one below the other in each matrix: any number of ranks gets an equal share of it,
    and an expert that no token went to has a gradient nevertheless.
    """

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.count, self.chosen = shape.experts, shape.experts_per_token
        self.router = nn.Linear(shape.hidden, shape.experts, bias=False)
        self.gate = nn.Parameter(torch.empty(shape.experts * shape.ffn, shape.hidden))
        self.up = nn.Parameter(torch.empty(shape.experts * shape.ffn, shape.hidden))
        self.down = nn.Parameter(torch.empty(shape.experts * shape.hidden, shape.ffn))

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden] -> the same."""
        tokens = x.flatten(0, -2)
        best, experts = self.router(tokens).float().topk(self.chosen, dim=-1)
        shares = best.softmax(dim=-1).type_as(x)
        matrices = zip(*(m.chunk(self.count) for m in (self.gate, self.up, self.down)), strict=True)
        mixed = torch.zeros_like(tokens)
        for expert, (gate, up, down) in enumerate(matrices):
            rows, place = torch.where(experts == expert)
            mine = tokens[rows]
            result = linear(silu(linear(mine, gate)) * linear(mine, up), down)
            mixed = mixed.index_add(0, rows, result * shares[rows, place, None])
        return mixed.view_as(x)


class Block(nn.Module):
    """One layer. Its activations may be computed again in the backward pass; it may be compiled."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.hidden, shape.norm_eps)
        self.attention = Attention(shape)
        self.ffn_norm = RMSNorm(shape.hidden, shape.norm_eps)
        self.ffn = Experts(shape) if shape.experts > 1 else FeedForward(shape)
        self._compute = self._layer

    def optimise(self, *, recompute: bool, compiled: bool) -> None:
        """Compute activations again in the backward pass; compile both passes."""
        if recompute:
            self._compute = partial(checkpoint, self._layer, use_reentrant=False)
        if compiled:
            self._compute = torch.compile(self._compute)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[batch, length, hidden] -> the same."""
        # Inside the module, so that FSDP's hooks stay outside of what is computed again.
        return self._compute(x, cos, sin)

    def _layer(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.ffn(self.ffn_norm(x))


class Decoder(nn.Module):
    """The whole model: token numbers in, the mean loss of the next tokens out."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.empty(shape.vocabulary, shape.hidden))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.norm_eps)
        if not shape.tied_embeddings:
            self.output = nn.Parameter(torch.empty(shape.vocabulary, shape.hidden))

    def logits(self, inputs: Tensor) -> Tensor:
        """int64 [batch, length] -> [batch, length, vocabulary]."""
        cos, sin = rotations(self.shape, inputs.shape[1], inputs.device)
        x = embedding(inputs, self.embedding)
        for block in self.blocks:
            x = block(x, cos, sin)
        matrix = self.embedding if self.shape.tied_embeddings else self.output
        return linear(self.norm(x), matrix)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Two times int64 [batch, length] -> fp32 scalar, in nats per token."""
        logits = self.logits(inputs)
        return cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Give every weight its first value: normal with deviation 0.02, norms one.

        What adds to the residual stream is smaller by the root of the number of such additions.
        """
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1)
                continue
            adds = name.endswith(("attention.out.weight", "ffn.down.weight", "ffn.down"))
            deviation = 0.02 / math.sqrt(2 * self.shape.layers) if adds else 0.02
            held = parameter.to_local() if isinstance(parameter, DTensor) else parameter
            drawn = _normal(rows_held(parameter), parameter.shape[1], f"{seed} {name}")
            held.copy_(drawn * deviation)


def rows_held(parameter: Tensor) -> Tensor:
    """Numbers of the rows of a matrix that this rank holds."""
    rows = torch.arange(len(parameter))
    if not isinstance(parameter, DTensor):
        return rows
    placed = distribute_tensor(
        rows, parameter.device_mesh, parameter.placements, src_data_rank=None
    )
    return placed.to_local().cpu()


def _normal(rows: Tensor, width: int, name: str) -> Tensor:
    parts = [torch.empty(0, width)]
    for piece in sorted({int(row) // ROWS_AT_ONCE for row in rows}):
        seed = int.from_bytes(sha256(f"{name} {piece}".encode()).digest()[:7])
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(ROWS_AT_ONCE, width, generator=generator)
        inside = rows[(rows // ROWS_AT_ONCE) == piece] - piece * ROWS_AT_ONCE
        parts.append(drawn[inside])
    return torch.cat(parts)
