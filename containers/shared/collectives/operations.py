"""The operations themselves, and what each must leave behind on every rank."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor

PERIOD = 13
"""Values are small whole numbers, whose sums float32 holds exactly."""


@dataclass(frozen=True)
class Prepared:
    """An operation that is ready to run, again and again.

    Attributes:
        reset: Forgets what arrived before.
        run: Does it once; the result is in `result` when it returns, or when the device is done.
        result: What it writes.
        expected: What must stand there after a reset and one run.
    """

    reset: Callable[[], object]
    run: Callable[[], object]
    result: Tensor
    expected: Tensor


def pattern(rank: int, begin: int, count: int, device: torch.device) -> Tensor:
    """Return numbers that tell which rank they are of and where they belong: float32 [count]."""
    places = torch.arange(begin, begin + count, device=device)
    return ((places + 3 * rank) % PERIOD).float()


def prepare(operation: str, count: int, device: torch.device) -> Prepared:
    """Make the buffers of an operation.

    Args:
        operation: As in `bandwidth.OPERATIONS`.
        count: Elements of the whole buffer.
        device: Where they lie.
    """
    makers = {
        "all_reduce": _all_reduce,
        "all_gather": _all_gather,
        "reduce_scatter": _reduce_scatter,
        "all_to_all": _all_to_all,
        "broadcast": _broadcast,
        "sendrecv": _sendrecv,
    }
    return makers[operation](count, device)


def _sum(begin: int, count: int, device: torch.device) -> Tensor:
    total = torch.zeros(count, device=device)
    for rank in range(dist.get_world_size()):
        total += pattern(rank, begin, count, device)
    return total


def _all_reduce(count: int, device: torch.device) -> Prepared:
    mine = pattern(dist.get_rank(), 0, count, device)
    result = mine.clone()  # it works in place: sums grow from run to run, which takes no longer
    reduce = partial(dist.all_reduce, result)
    return Prepared(lambda: result.copy_(mine), reduce, result, _sum(0, count, device))


def _all_gather(count: int, device: torch.device) -> Prepared:
    part = count // dist.get_world_size()
    mine = pattern(dist.get_rank(), dist.get_rank() * part, part, device)
    result = torch.zeros(count, device=device)
    # Its name since torch 2.13, which warns of the older one.
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    ranks = range(dist.get_world_size())
    expected = torch.cat([pattern(rank, rank * part, part, device) for rank in ranks])
    return Prepared(result.zero_, partial(gather, result, mine), result, expected)


def _reduce_scatter(count: int, device: torch.device) -> Prepared:
    part = count // dist.get_world_size()
    mine = pattern(dist.get_rank(), 0, count, device)
    result = torch.zeros(part, device=device)
    scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
    expected = _sum(dist.get_rank() * part, part, device)
    return Prepared(result.zero_, partial(scatter, result, mine), result, expected)


def _all_to_all(count: int, device: torch.device) -> Prepared:
    part = count // dist.get_world_size()
    mine = pattern(dist.get_rank(), 0, count, device)
    result = torch.zeros(count, device=device)
    exchange = partial(dist.all_to_all_single, result, mine)
    ranks, begin = range(dist.get_world_size()), dist.get_rank() * part
    expected = torch.cat([pattern(rank, begin, part, device) for rank in ranks])
    return Prepared(result.zero_, exchange, result, expected)


def _broadcast(count: int, device: torch.device) -> Prepared:
    source = pattern(0, 0, count, device)
    result = source.clone()
    reset = result.zero_ if dist.get_rank() else (lambda: None)
    return Prepared(reset, partial(dist.broadcast, result, src=0), result, source)


def _sendrecv(count: int, device: torch.device) -> Prepared:
    """Each rank sends to the next one, and receives from the one before."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    after, before = (rank + 1) % ranks, (rank - 1) % ranks
    mine = pattern(rank, 0, count, device)
    result = torch.zeros_like(mine)

    def run() -> None:
        both = [dist.P2POp(dist.isend, mine, after), dist.P2POp(dist.irecv, result, before)]
        for work in dist.batch_isend_irecv(both):
            work.wait()

    return Prepared(result.zero_, run, result, pattern(before, 0, count, device))
