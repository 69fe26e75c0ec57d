"""Tensor parallelism: each process has a part of every matrix.

A block begins with a matrix that is split by its outputs (`ColumnLinear`) and ends with one that is
split by its inputs (`RowLinear`): between them nothing is sent. `enter` stands before the first and
`leave` behind the second. With sequence parallelism the activations outside are split along the
sequence, and a reduce_scatter and an all_gather take the place of the all_reduce.
"""

from typing import Any

import torch
import torch.distributed as dist
from groups import Group
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

SEQUENCE = 1
"""Dimension of activations: [batch, sequence, hidden]."""


class _Copy(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group.all_reduce(gradient.clone()), None


class _Sum(Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor, group: Group) -> Tensor:
        return group.all_reduce(x.clone())

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return group.all_gather(x, SEQUENCE)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group.reduce_scatter(gradient, SEQUENCE), None


class _SumScatter(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return group.reduce_scatter(x, SEQUENCE)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group.all_gather(gradient, SEQUENCE), None


class TensorParallel:
    """The way into the split part of a model, and out of it."""

    def __init__(self, group: Group, *, sequence_parallel: bool) -> None:
        self.group = group
        self.sequence_parallel = sequence_parallel and group.size > 1

    def enter(self, x: Tensor) -> Tensor:
        """Return the whole sequence, for matrices that are split by their outputs."""
        return _Gather.apply(x, self.group) if self.sequence_parallel else self.copy(x)

    def copy(self, x: Tensor) -> Tensor:
        """Return a tensor that all have; its gradient is the sum of theirs."""
        return _Copy.apply(x, self.group) if self.group.size > 1 else x

    def leave(self, x: Tensor) -> Tensor:
        """Return the sum of partial results; with sequence parallelism this process's piece."""
        if self.group.size == 1:
            return x
        return (_SumScatter if self.sequence_parallel else _Sum).apply(x, self.group)


def shard(full_shape: tuple[int, ...], split: int | None, group: Group) -> nn.Parameter:
    """Return this process's part of a weight, not yet filled.

    It knows the `full_shape` of the weight, and by which dimension it is `split` (None: all
    processes have all of it).
    """
    shape = list(full_shape)
    if split is not None:
        shape[split] //= group.size
    made = nn.Parameter(torch.empty(shape))
    made.full_shape, made.split = full_shape, split
    return made


class ColumnLinear(nn.Module):
    """A matrix of which each process computes some outputs."""

    def __init__(self, inputs: int, outputs: int, group: Group) -> None:
        super().__init__()
        self.weight = shard((outputs, inputs), 0, group)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs of this process]."""
        return functional.linear(x, self.weight)


class RowLinear(nn.Module):
    """A matrix of which each process has some inputs; the results are still to be added up."""

    def __init__(self, inputs: int, outputs: int, group: Group) -> None:
        super().__init__()
        self.weight = shard((outputs, inputs), 1, group)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs of this process] to [..., outputs], a part of the sum."""
        return functional.linear(x, self.weight)


class VocabularyEmbedding(nn.Module):
    """An embedding of which each process has some tokens; the results are still to be added up."""

    def __init__(self, vocabulary: int, hidden: int, group: Group) -> None:
        super().__init__()
        self.weight = shard((vocabulary, hidden), 0, group)
        self.first = group.rank * len(self.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [batch, sequence] to [batch, sequence, hidden]: zeros for others' tokens."""
        mine = tokens - self.first
        others = (mine < 0) | (mine >= len(self.weight))
        found = functional.embedding(mine.masked_fill(others, 0), self.weight)
        return found.masked_fill(others.unsqueeze(-1), 0.0)


class _CrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, group: Group) -> Tensor:
        greatest = group.all_reduce(logits.amax(-1), dist.ReduceOp.MAX)
        shifted = logits - greatest.unsqueeze(-1)
        powers = shifted.exp()
        mine = targets - group.rank * logits.shape[-1]
        others = (mine < 0) | (mine >= logits.shape[-1])
        mine = mine.masked_fill(others, 0).unsqueeze(-1)
        right = shifted.gather(-1, mine).squeeze(-1).masked_fill(others, 0.0)
        total, right = group.all_reduce(torch.stack((powers.sum(-1), right)))
        ctx.save_for_backward(powers / total.unsqueeze(-1), mine, others)
        return total.log() - right

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        probabilities, mine, others = ctx.saved_tensors
        minus_one = others.to(probabilities.dtype).unsqueeze(-1) - 1
        wanted = probabilities.scatter_add(-1, mine, minus_one)
        return wanted * gradient.unsqueeze(-1), None, None


def cross_entropy(logits: Tensor, targets: Tensor, group: Group) -> Tensor:
    """Return the loss of each token, without any process having all logits.

    Args:
        logits: [..., vocabulary / group.size] of this process.
        targets: int64 [...], the same on all processes.
        group: Those that share the vocabulary, in its order.
    """
    return _CrossEntropy.apply(logits, targets, group)
