"""Composer models: a decoder of MPT's shape, and a small residual network for images."""

from typing import Any

import torch
from composer.models import ComposerModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, linear, relu, scaled_dot_product_attention
from torchmetrics import MeanMetric, Metric

Batch = tuple[Tensor, Tensor]
CLASSES = 10


class Block(nn.Module):
    """Attention with linear biases (ALiBi) and a feed-forward part; no other biases, as MPT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(2))
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, stream: Tensor, bias: Tensor) -> Tensor:
        """[batch, length, width] -> the same."""
        split = self.query_key_value(self.norms[0](stream)).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        stream = stream + self.out(mixed.transpose(1, 2).flatten(-2))
        return stream + self.down(gelu(self.up(self.norms[1](stream))))


def alibi(heads: int, length: int, device: torch.device) -> Tensor:
    """Return what is added to attention scores: [heads, length, length], -inf after a token."""
    slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1, device=device) / heads)
    place = torch.arange(length, device=device)
    distance = place[None, :] - place[:, None]
    bias = slopes[:, None, None] * distance
    return bias.masked_fill(distance > 0, float("-inf"))


class Mpt(ComposerModel):
    """A decoder whose embedding is its output layer, too."""

    def __init__(self, vocabulary: int, layers: int, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads, self.length = heads, length
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        for name, weight in self.named_parameters():
            if "norm" not in name:
                nn.init.normal_(weight, std=0.02)

    def fsdp_wrap_fn(self, module: nn.Module) -> bool:
        """Tell Composer what to shard by itself."""
        return isinstance(module, Block)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits: [batch, length, vocabulary]."""
        inputs = batch[0]
        stream = self.embedding(inputs)
        bias = alibi(self.heads, inputs.shape[1], inputs.device)
        for block in self.blocks:
            stream = block(stream, bias)
        return linear(self.norm(stream), self.embedding.weight)

    def loss(self, outputs: Tensor, batch: Batch, *_: Any, **__: Any) -> Tensor:
        """Return the mean loss in nats."""
        return cross_entropy(outputs.flatten(0, -2).float(), batch[1].flatten())

    def get_metrics(self, is_train: bool) -> dict[str, Metric]:
        """Return what is measured on held-out data."""
        return {} if is_train else {"loss": MeanMetric()}

    def update_metric(self, batch: Batch, outputs: Tensor, metric: Metric) -> None:
        """Count a batch in."""
        metric.update(self.loss(outputs, batch), weight=len(batch[0]))


class Residual(nn.Module):
    """Two convolutions beside a shortcut; the first may halve the picture's sides."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(4, after) for _ in range(2))
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """[batch, before, side, side] -> [batch, after, side / stride, side / stride]."""
        hidden = relu(self.norms[0](self.first(pictures)))
        return relu(self.norms[1](self.second(hidden)) + self.shortcut(pictures))


class ResNet(ComposerModel):
    """Three stages of residual blocks, each half as wide as high. GroupNorm in place of BatchNorm:
    what it computes does not depend on how many ranks share a batch."""

    def __init__(self, channels: int, blocks: int, side: int) -> None:  # noqa: ARG002
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, channels, 3, padding=1), nn.ReLU()]
        width = channels
        for stage in range(3):
            for block in range(blocks):
                after = channels * 2**stage
                layers.append(Residual(width, after, 2 if stage and not block else 1))
                width = after
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits: [batch, classes]."""
        return self.head(self.body(batch[0]).mean(dim=(2, 3)))

    def loss(self, outputs: Tensor, batch: Batch, *_: Any, **__: Any) -> Tensor:
        """Return the mean loss in nats."""
        return cross_entropy(outputs, batch[1])

    def get_metrics(self, is_train: bool) -> dict[str, Metric]:
        """Return what is measured on held-out data."""
        return {} if is_train else {"accuracy": MeanMetric()}

    def update_metric(self, batch: Batch, outputs: Tensor, metric: Metric) -> None:
        """Count a batch in."""
        metric.update((outputs.argmax(dim=1) == batch[1]).float())
