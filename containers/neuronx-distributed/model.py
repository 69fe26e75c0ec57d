"""Llama 3 from NeuronX Distributed's parallel layers. Not verified: nobody has run it here.

Written against the documentation of neuronx-distributed (Distributed Strategies APIs, Training
APIs). Activations between layers are [length, batch, hidden], since sequence parallelism cuts the
first axis.
"""

import torch
from configuration import Architecture, Configuration
from neuronx_distributed.kernels.flash_attn import nki_flash_attn_func
from neuronx_distributed.modules.qkv_linear import GQAQKVColumnParallelLinear
from neuronx_distributed.modules.rms_norm import RMSNorm
from neuronx_distributed.parallel_layers import parallel_state
from neuronx_distributed.parallel_layers.layers import (
    ColumnParallelLinear,
    ParallelEmbedding,
    RowParallelLinear,
)
from neuronx_distributed.parallel_layers.loss_functions import parallel_cross_entropy
from neuronx_distributed.parallel_layers.mappings import scatter_to_sequence_parallel_region
from torch import Tensor, nn
from torch.nn.functional import silu


def rotations(shape: Architecture, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of each position's angles: [length, units of a head]."""
    powers = torch.arange(0, shape.head, 2, device=device).float() / shape.head
    places = torch.arange(length, device=device).float()
    angles = torch.outer(places, shape.rope_theta**-powers).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each unit of the first half of a head with its partner in the second half."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


class CoreAttention(nn.Module):
    """Attention of this core's heads: what selective checkpointing computes again."""

    def __init__(self, config: Configuration) -> None:
        super().__init__()
        self.flash = config.flash_attention

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Three times [batch, heads of this core, length, head] -> the same."""
        if self.flash:
            return nki_flash_attn_func(query, key, value)
        length = query.shape[2]
        later = torch.ones(length, length, device=query.device, dtype=torch.bool).triu(1)
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return scores.masked_fill(later, -1e9).softmax(-1, dtype=torch.float32).to(value) @ value


class Attention(nn.Module):
    """Grouped queries: key and value heads are repeated until every core has one."""

    def __init__(self, config: Configuration) -> None:
        super().__init__()
        shape = config.architecture
        self.shape, hidden = shape, shape.hidden
        self.qkv = GQAQKVColumnParallelLinear(
            hidden,
            [hidden, shape.kv_heads * shape.head],
            bias=False,
            gather_output=False,
            sequence_parallel_enabled=config.sequence_parallel,
            kv_size_multiplier=config.kv_multiplier,
        )
        self.core = CoreAttention(config)
        self.output = RowParallelLinear(
            hidden,
            hidden,
            bias=False,
            input_is_parallel=True,
            sequence_parallel_enabled=config.sequence_parallel,
        )

    def forward(self, x: Tensor) -> Tensor:
        """[length, batch, hidden], cut over cores where sequences are -> the same."""
        # [length, batch, units] -> [batch, heads, length, head]
        heads = [
            part.unflatten(-1, (-1, self.shape.head)).permute(1, 2, 0, 3) for part in self.qkv(x)
        ]
        cos, sin = rotations(self.shape, heads[0].shape[2], x.device)
        query, key = rotate(heads[0], cos, sin), rotate(heads[1], cos, sin)
        repeats = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(repeats, dim=1) for part in (key, heads[2]))
        return self.output(self.core(query, key, value).permute(2, 0, 1, 3).flatten(2))


class Layer(nn.Module):
    """One layer: attention, then the feed-forward part, each added to what came in."""

    def __init__(self, config: Configuration) -> None:
        super().__init__()
        shape, parallel = config.architecture, config.sequence_parallel
        options = {"bias": False, "sequence_parallel_enabled": parallel}
        norm = {"eps": shape.norm_eps, "sequence_parallel_enabled": parallel}
        self.attention_norm, self.ffn_norm = (RMSNorm(shape.hidden, **norm) for _ in range(2))
        self.attention = Attention(config)
        self.gate, self.up = (
            ColumnParallelLinear(shape.hidden, shape.ffn, gather_output=False, **options)
            for _ in range(2)
        )
        self.down = RowParallelLinear(shape.ffn, shape.hidden, input_is_parallel=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        """[length, batch, hidden] -> the same."""
        x = x + self.attention(self.attention_norm(x))
        normed = self.ffn_norm(x)
        return x + self.down(silu(self.gate(normed)) * self.up(normed))


class Llama(nn.Module):
    """Llama 3, and its loss."""

    def __init__(self, config: Configuration) -> None:
        super().__init__()
        shape, parallel = config.architecture, config.sequence_parallel
        self.parallel = parallel
        self.embedding = ParallelEmbedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(config) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, eps=shape.norm_eps, sequence_parallel_enabled=parallel)
        self.output = ColumnParallelLinear(
            shape.hidden,
            shape.vocabulary,
            bias=False,
            gather_output=False,
            sequence_parallel_enabled=parallel,
        )

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Two times int64 [batch, length] -> fp32 scalar, in nats per token."""
        x = self.embedding(inputs).transpose(0, 1)
        if self.parallel:
            x = scatter_to_sequence_parallel_region(x)
        for layer in self.layers:
            x = layer(x)
        logits = self.output(self.norm(x)).transpose(0, 1)
        return parallel_cross_entropy(logits.float(), targets).mean()


def data_part() -> tuple[int, int]:
    """Return which replica this process belongs to, and how many there are."""
    rank = parallel_state.get_data_parallel_rank()
    return rank, parallel_state.get_data_parallel_size()
