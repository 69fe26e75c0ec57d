"""Which process has which place: data x pipeline x context x tensor."""

from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from groups import Group, alike
from training.records import WRONG_INPUT, Stop

DATA, PIPELINE, CONTEXT, TENSOR = range(4)


@dataclass(frozen=True)
class Layout:
    """Into how many parts each axis is split."""

    data: int
    pipeline: int
    context: int
    tensor: int

    @classmethod
    def of(cls, ranks: int, pipeline: int, context: int, tensor: int) -> "Layout":
        """Return the layout of some processes: what is left over is data parallelism.

        Raises:
            Stop: The number of processes is no multiple of the other three.
        """
        data, rest = divmod(ranks, pipeline * context * tensor)
        if rest or not data:
            told = f"tensor {tensor} x pipeline {pipeline} x context {context}"
            message = f"{ranks} processes are no multiple of {told} = {pipeline * context * tensor}"
            raise Stop(WRONG_INPUT, message)
        return cls(data, pipeline, context, tensor)


class Mesh:
    """The groups that this process is in.

    Attributes:
        data, pipeline, context, tensor: Those that differ along this axis alone.
        replicas: Those with the same weights, over which gradients are added: data x context.
        model: Those that hold one whole model together: pipeline x tensor.
        world: All.
    """

    def __init__(self, layout: Layout, device: torch.device, patience: timedelta) -> None:
        """Make the groups; all processes must.

        torch's init_device_mesh makes such groups too, but lets them wait for a lost process half
        an hour, whatever the world's own timeout is.
        """
        self.layout, self.device, self.patience = layout, device, patience
        # Neighbours in rank are tensor parallel: they talk most, and share a node.
        sizes = (layout.data, layout.pipeline, layout.context, layout.tensor)
        self.places = torch.arange(dist.get_world_size()).view(sizes)
        self.data, self.pipeline = self._group(DATA), self._group(PIPELINE)
        self.context, self.tensor = self._group(CONTEXT), self._group(TENSOR)
        self.replicas = self._group(DATA, CONTEXT)
        self.model = self._group(PIPELINE, TENSOR)
        self.world = Group(dist.group.WORLD)

    def _group(self, *dims: int) -> Group:
        lists = alike(self.places, dims)
        mine, _ = dist.new_subgroups_by_enumeration(lists, timeout=self.patience)
        return Group(mine)

    @property
    def first_stage(self) -> bool:
        """Whether this process has the embedding."""
        return self.pipeline.rank == 0

    @property
    def last_stage(self) -> bool:
        """Whether this process has the output layer, and computes the loss."""
        return self.pipeline.rank == self.pipeline.size - 1
