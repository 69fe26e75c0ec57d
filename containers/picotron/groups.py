"""Processes that exchange messages. Every message of the trainer passes through a `Group`."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class Group:
    """Some processes in an order; with one alone nothing is sent.

    gloo of torch 2.13 has all of these operations, in float32, float64 and bfloat16.
    """

    def __init__(self, handle: dist.ProcessGroup) -> None:
        self.handle = handle
        self.ranks = dist.get_process_group_ranks(handle)
        self.size, self.rank = len(self.ranks), dist.get_rank(handle)

    def peer(self, offset: int) -> int:
        """Return the global rank of the process that is `offset` on from this one, in a ring."""
        return self.ranks[(self.rank + offset) % self.size]

    def all_reduce(self, tensor: Tensor, op: dist.ReduceOp = dist.ReduceOp.SUM) -> Tensor:
        """Replace a tensor by the sum (or the greatest) over all processes; return it."""
        if self.size > 1:
            dist.all_reduce(tensor, op, group=self.handle)
        return tensor

    def all_gather(self, tensor: Tensor, dim: int) -> Tensor:
        """Return the tensors of all processes, one behind the other along `dim`."""
        if self.size == 1:
            return tensor
        mine = tensor.movedim(dim, 0).contiguous()
        everyones = mine.new_empty(self.size * mine.shape[0], *mine.shape[1:])
        dist.all_gather_single(everyones, mine, group=self.handle)
        return everyones.movedim(0, dim)

    def reduce_scatter(self, tensor: Tensor, dim: int) -> Tensor:
        """Return this process's piece, along `dim`, of the sum over all processes."""
        if self.size == 1:
            return tensor
        whole = tensor.movedim(dim, 0).contiguous()
        piece = whole.new_empty(whole.shape[0] // self.size, *whole.shape[1:])
        dist.reduce_scatter_single(piece, whole, group=self.handle)
        return piece.movedim(0, dim)

    def all_to_all(self, tensor: Tensor, split: int, join: int) -> Tensor:
        """Send to each process its piece along `split`; return those received, along `join`."""
        if self.size == 1:
            return tensor
        sent = torch.stack(tensor.chunk(self.size, dim=split)).contiguous()
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent, group=self.handle)
        return torch.cat(received.unbind(), dim=join)

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by that of the group's first process; return it."""
        if self.size > 1:
            dist.broadcast(tensor, self.ranks[0], group=self.handle)
        return tensor

    def exchange(self, sent: Tensor | None, to: int, into: Tensor | None, source: int) -> None:
        """Send and receive at the same time, so that two that face each other never both wait.

        Args:
            sent: What to send, or None.
            to: Offset of the process that gets it.
            into: Where to put what is received, or None.
            source: Offset of the process that it comes from.
        """
        messages = []
        if sent is not None:
            messages.append(dist.P2POp(dist.isend, sent.contiguous(), self.peer(to), self.handle))
        if into is not None:
            messages.append(dist.P2POp(dist.irecv, into, self.peer(source), self.handle))
        for work in dist.batch_isend_irecv(messages) if messages else ():
            work.wait()

    def say(self, thing: object) -> list[object]:
        """Return what each process said: any small Python object."""
        said: list[object] = [None] * self.size
        dist.all_gather_object(said, thing, group=self.handle)
        return said


def alike(mesh: Tensor, dims: Sequence[int]) -> list[list[int]]:
    """Return the lists of ranks that differ in the given dimensions of a mesh alone.

    Args:
        mesh: int64, the rank at each place.
        dims: Numbers of the dimensions.
    """
    others = [dim for dim in range(mesh.dim()) if dim not in dims]
    size = mesh[tuple(slice(None) if dim in dims else 0 for dim in range(mesh.dim()))].numel()
    lists: list[list[int]] = mesh.permute(*others, *dims).reshape(-1, size).tolist()
    return lists
