"""Gradients of all processes: added over those with the same weights, and clipped by one norm."""

import torch
from groups import Group
from mesh import Mesh
from torch import Tensor, nn
from training.records import Stop

BUCKET = 25 * 2**20
"""Bytes that are sent at once, at least: many small messages would take longer."""


def add_up(parameters: list[nn.Parameter], mesh: Mesh, *, sequence_parallel: bool) -> None:
    """Replace each gradient by the sum over data and context parallel processes.

    It is the gradient of the mean over the global batch, since each loss is divided by all its
    tokens. With sequence parallelism each process of a tensor group has normalised other
    positions, so that gradients of weights that all have are added over these as well.
    """
    if sequence_parallel:
        for bucket in _buckets([_gradient(p) for p in parameters if p.split is None]):
            _all_reduce(bucket, mesh.tensor)
    for bucket in _buckets([_gradient(p) for p in parameters]):
        _all_reduce(bucket, mesh.replicas)


def clip(parameters: list[nn.Parameter], mesh: Mesh, greatest: float) -> float:
    """Scale the gradients so that their norm over the whole model is at most `greatest`.

    Returns:
        The norm that it was.
    """
    squares = torch.zeros((), dtype=torch.float64, device=mesh.device)
    for parameter in parameters:
        if parameter.split is not None or mesh.tensor.rank == 0:  # what all have counts once
            squares += _gradient(parameter).double().square().sum()
    norm = mesh.model.all_reduce(squares).sqrt().item()
    if norm > greatest:
        for parameter in parameters:
            _gradient(parameter).mul_(greatest / norm)
    return norm


@torch.no_grad()
def demand_same_start(stage: nn.Module, mesh: Mesh) -> None:
    """Send the first weights of one process to those that must have the same, and compare.

    Raises:
        Stop: They differ: other versions of torch, or a broken seed.
    """
    differ, first = torch.zeros(1, device=mesh.device), ""
    for name, parameter in stage.named_parameters():
        if not torch.equal(mesh.replicas.broadcast(parameter.detach().clone()), parameter):
            differ += 1
            first = first or name
    if mesh.world.all_reduce(differ.clone()).item():
        mine = f": here {int(differ.item())}, {first} first" if differ.item() else ""
        raise Stop(1, f"processes that must start from the same weights do not{mine}")


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _buckets(gradients: list[Tensor]) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = [[]]
    for gradient in gradients:
        if sum(one.nbytes for one in buckets[-1]) >= BUCKET:
            buckets.append([])
        buckets[-1].append(gradient)
    return [bucket for bucket in buckets if bucket]


def _all_reduce(bucket: list[Tensor], group: Group) -> None:
    if group.size == 1:
        return
    flat = group.all_reduce(torch.cat([gradient.flatten() for gradient in bucket]))
    for gradient, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
        gradient.copy_(part.view_as(gradient))
