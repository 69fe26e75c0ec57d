"""Context parallelism: each process has a part of every sequence, and all attend to all of it.

`ring`: keys and values travel from process to process; what each block contributes is added up by
its logarithm of the sum of exponentials. In the backward pass they travel once more, and their
gradients with them. `all_to_all`: each process gets the whole sequence, but only some heads.
"""

from typing import Any

import torch
from groups import Group
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

HEADS, SEQUENCE = 1, 2
"""Dimensions of queries, keys and values: [batch, heads, sequence, units]."""


class Context:
    """Which positions this process has, and how it attends to those of the others."""

    def __init__(self, group: Group, method: str) -> None:
        self.group, self.method = group, method

    def positions(self, length: int, device: torch.device) -> Tensor:
        """Return the positions of this process: int64 [length / processes].

        In a ring a process has one early and one late piece (zigzag): attention looks back only,
        so that with one piece each the last process would have most of the work.
        """
        group = self.group
        places = torch.arange(length, device=device)
        if self.method == "ring" and group.size > 1:
            pieces = places.chunk(2 * group.size)
            return torch.cat((pieces[group.rank], pieces[-1 - group.rank]))
        return places.chunk(group.size)[group.rank]

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return causal attention over the whole sequence, at this process's positions.

        Args:
            q: [batch, heads, positions, units].
            k: [batch, heads of keys and values, positions, units]; fewer heads are shared.
            v: As k.
        """
        if self.group.size == 1:
            return _whole_attention(q, k, v)
        if self.method == "ring":
            return _Ring.apply(q, k, v, self.group)
        q, k, v = (_AllToAll.apply(x, self.group, HEADS, SEQUENCE) for x in (q, k, v))
        return _AllToAll.apply(_whole_attention(q, k, v), self.group, SEQUENCE, HEADS)


def _whole_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    shared = q.shape[HEADS] != k.shape[HEADS]
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=shared)


class _AllToAll(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group, split: int, join: int) -> Tensor:
        ctx.group, ctx.split, ctx.join = group, split, join
        return group.all_to_all(x, split, join)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.group.all_to_all(gradient, ctx.join, ctx.split), None, None, None


class _Ring(Function):
    """Queries are kept as [batch, kv heads, queries of each, sequence, units], to share keys."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, group: Group) -> Tensor:
        grouped = _by_kv_head(q, k)
        out = torch.zeros(grouped.shape, dtype=_exact(q), device=q.device)
        log_sum = torch.full(out.shape[:-1], -torch.inf, dtype=out.dtype, device=q.device)
        block = torch.stack((k, v))
        for turn in range(group.size):
            rows, columns = _seen(turn, group, q.shape[SEQUENCE])
            scores = _scores(grouped, block[0], rows, columns, causal=turn == 0)
            part = scores.logsumexp(-1)
            value = (scores - part.unsqueeze(-1)).exp() @ _keys(block[1], columns)
            total = torch.logaddexp(log_sum[..., rows], part)
            before = (log_sum[..., rows] - total).exp().unsqueeze(-1)
            out[..., rows, :] = out[..., rows, :] * before + value * (part - total).exp()[..., None]
            log_sum[..., rows] = total
            if turn < group.size - 1:
                block = _passed_on(block, group)
        ctx.group = group
        ctx.save_for_backward(q, k, v, out, log_sum)
        return out.flatten(1, 2).to(q.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, out, log_sum = ctx.saved_tensors
        group, grouped = ctx.group, _by_kv_head(q, k)
        gradient = gradient.reshape(out.shape).to(out.dtype)
        product = (gradient * out).sum(-1, keepdim=True)
        for_q = torch.zeros_like(out)
        block = torch.stack((k, v))
        for_kv = torch.zeros(block.shape, dtype=out.dtype, device=q.device)
        for turn in range(group.size):
            rows, columns = _seen(turn, group, q.shape[SEQUENCE])
            scores = _scores(grouped, block[0], rows, columns, causal=turn == 0)
            weights = (scores - log_sum[..., rows].unsqueeze(-1)).exp()
            arriving = gradient[..., rows, :]
            for_weights = arriving @ _keys(block[1], columns).transpose(-1, -2)
            for_scores = weights * (for_weights - product[..., rows, :]) * q.shape[-1] ** -0.5
            for_q[..., rows, :] += for_scores @ _keys(block[0], columns)
            queries = grouped[..., rows, :].to(out.dtype)
            for_kv[0][..., columns, :] += (for_scores.transpose(-1, -2) @ queries).sum(2)
            for_kv[1][..., columns, :] += (weights.transpose(-1, -2) @ arriving).sum(2)
            if turn < group.size - 1:
                block = _passed_on(block, group)
            for_kv = _passed_on(for_kv, group)  # after a whole turn they are where they belong
        for_k, for_v = for_kv.to(k.dtype)
        return for_q.flatten(1, 2).to(q.dtype), for_k, for_v, None


def _seen(turn: int, group: Group, length: int) -> tuple[slice, slice]:
    """Return which queries attend to which keys of the process that is `turn` behind.

    All to the early piece of a process with an earlier one; the late piece alone to both pieces of
    a process with a later one. Either way half of the block.
    """
    half, everything = length // 2, slice(None)
    if turn == 0:
        return everything, everything
    if turn <= group.rank:
        return everything, slice(0, half)
    return slice(half, None), everything


def _passed_on(block: Tensor, group: Group) -> Tensor:
    received = torch.empty_like(block)
    group.exchange(block, 1, received, -1)
    return received


def _by_kv_head(q: Tensor, k: Tensor) -> Tensor:
    return q.unflatten(HEADS, (k.shape[HEADS], -1))


def _keys(block: Tensor, columns: slice) -> Tensor:
    return block[..., columns, :].unsqueeze(2).to(_exact(block))


def _scores(grouped: Tensor, k: Tensor, rows: slice, columns: slice, *, causal: bool) -> Tensor:
    queries, keys = grouped[..., rows, :].to(_exact(k)), _keys(k, columns)
    scores = queries @ keys.transpose(-1, -2) * k.shape[-1] ** -0.5
    if causal:  # both pieces are in order, so that what is later here is later in the sequence
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=k.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return scores


def _exact(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
