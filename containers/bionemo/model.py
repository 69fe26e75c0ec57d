"""ESM-2, the protein language model of Lin et al. (2023), https://doi.org/10.1126/science.ade2574.

A bidirectional transformer: layers normalise before attention and before the feed-forward part,
positions are rotations, and the output shares its matrix with the embedding. What stands for masked
residues is scaled away ("token dropout"), so that a sequence without masks looks like those of the
training. Parameters are named and counted as in the published weights, but for those of the head
that predicts contacts, which is trained afterwards.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention

LETTERS = "LAGVSERTIDPKQNFYMHWCXBUZO.-"
ALPHABET = ("<cls>", "<pad>", "<eos>", "<unk>", *LETTERS, "<null_1>", "<mask>")
"""The published vocabulary, in its order."""

CLS, PAD, EOS, UNKNOWN, MASK = (
    ALPHABET.index(name) for name in ("<cls>", "<pad>", "<eos>", "<unk>", "<mask>")
)
RESIDUES = range(4, 24)  # the twenty amino acids
MASKED_IN_TRAINING = 0.15 * 0.8  # share of tokens that are <mask> in the published training


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The shape of a model."""

    layers: int
    hidden: int
    heads: int
    ffn: int

    @property
    def head(self) -> int:
        """Units of an attention head."""
        return self.hidden // self.heads

    def parameters(self) -> int:
        """Return how many weights it has."""
        hidden, ffn = self.hidden, self.ffn
        attention = 4 * (hidden * hidden + hidden)
        block = attention + 2 * hidden * ffn + ffn + hidden + 4 * hidden
        ends = len(ALPHABET) * hidden + 2 * hidden
        head = hidden * hidden + hidden + 2 * hidden + len(ALPHABET)
        return self.layers * block + ends + head

    def flops_per_token(self, length: int) -> float:
        """Return the FLOPs of a forward and backward pass for one of `length` tokens."""
        hidden = self.hidden
        weights = self.layers * (4 * hidden * hidden + 2 * hidden * self.ffn)
        weights += hidden * hidden + len(ALPHABET) * hidden
        return 6.0 * weights + 12.0 * self.layers * length * hidden


def rotations(shape: Architecture, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of each position's angles: [length, units of a head]."""
    frequencies = 10000.0 ** (-torch.arange(0, shape.head, 2, device=device).float() / shape.head)
    angles = torch.outer(torch.arange(length, device=device).float(), frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each unit of the first half of a head with its partner in the second half."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


class Block(nn.Module):
    """One layer: attention, then the feed-forward part, each added to what came in."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        hidden = shape.hidden
        self.heads = shape.heads
        self.attention_norm = nn.LayerNorm(hidden)
        self.query, self.key, self.value, self.output = (
            nn.Linear(hidden, hidden) for _ in range(4)
        )
        self.ffn_norm = nn.LayerNorm(hidden)
        self.up, self.down = nn.Linear(hidden, shape.ffn), nn.Linear(shape.ffn, hidden)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attended: Tensor) -> Tensor:
        """[batch, length, hidden] -> the same; `attended` is False at padding."""
        normed = self.attention_norm(x)
        split = [
            part(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        ]
        query, key = (rotate(part, cos, sin) for part in split[:2])
        mixed = scaled_dot_product_attention(query, key, split[2], attn_mask=attended)
        x = x + self.output(mixed.transpose(1, 2).flatten(2))
        return x + self.down(gelu(self.up(self.ffn_norm(x))))


class Esm2(nn.Module):
    """ESM-2 with its head for masked residues."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.shape, hidden = shape, shape.hidden
        self.embedding = nn.Embedding(len(ALPHABET), hidden, padding_idx=PAD)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(hidden)
        self.head, self.head_norm = nn.Linear(hidden, hidden), nn.LayerNorm(hidden)
        self.bias = nn.Parameter(torch.zeros(len(ALPHABET)))

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw all matrices from a normal distribution of deviation 0.02; biases are 0."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                drawn = torch.empty(parameter.shape).normal_(0, 0.02, generator=generator)
                parameter.copy_(drawn)
            elif name.endswith("bias"):
                parameter.zero_()
        self.embedding.weight[PAD] = 0

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [batch, length] -> logits [batch, length, vocabulary]."""
        real = tokens != PAD
        masked = tokens == MASK
        x = self.embedding(tokens).masked_fill(masked.unsqueeze(-1), 0.0)
        share = masked.sum(-1) / real.sum(-1)
        scale = (1 - MASKED_IN_TRAINING) / (1 - share)
        x = x * (scale.unsqueeze(-1) * real).unsqueeze(-1).to(x.dtype)
        cos, sin = rotations(self.shape, tokens.shape[1], tokens.device)
        for block in self.blocks:
            x = block(x, cos, sin, real[:, None, None, :])
        x = self.head_norm(gelu(self.head(self.norm(x))))
        return linear(x, self.embedding.weight) + self.bias
