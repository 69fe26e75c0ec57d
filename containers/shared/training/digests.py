"""A SHA-256 of a model's weights, by which two trainings are compared to the last bit."""

import hashlib
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def of_copies(weights: Iterable[Tensor]) -> str:
    """Digest of weights that every rank has a whole copy of.

    Args:
        weights: This rank's, in an order that all ranks share.

    Raises:
        RuntimeError: The copies differ, as they do where gradients were not averaged.
    """
    digests = _of_all_ranks(weights)
    if len(set(digests)) != 1:
        raise RuntimeError(f"the ranks ended with different parameters: {digests}")
    return digests[0]


def of_shards(weights: Iterable[Tensor], group: dist.ProcessGroup | None = None) -> str:
    """Digest of weights of which every rank has a part: comparable among equal splits.

    Args:
        weights: This rank's parts, as plain tensors.
        group: Of ranks that can send objects; by default all.
    """
    return hashlib.sha256(" ".join(_of_all_ranks(weights, group)).encode()).hexdigest()


def _of_all_ranks(weights: Iterable[Tensor], group: dist.ProcessGroup | None = None) -> list[str]:
    mine = hashlib.sha256()
    for weight in weights:
        mine.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy())
    if not dist.is_initialized():  # one process alone, of some frameworks
        return [mine.hexdigest()]
    digests = [""] * dist.get_world_size()
    dist.all_gather_object(digests, mine.hexdigest(), group=group)
    return digests
