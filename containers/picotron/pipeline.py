"""Pipeline parallelism: each process has some layers, which micro-batches pass one after another.

`afab` does all forward passes, then all backward passes: it keeps the activations of all
micro-batches. `1f1b` begins with a backward pass as soon as one is possible, and keeps those of no
more micro-batches than there are stages behind.
"""

from collections import deque
from collections.abc import Callable, Iterator

import torch
from mesh import Mesh
from torch import Tensor

Shape = tuple[int, ...]
Forward = Callable[[int, Tensor | None], Tensor]
"""Of a micro-batch's number and the activations of the stage before (None on the first): this
stage's activations, or the loss on the last."""


class Pipeline:
    """One stage of a pipeline."""

    def __init__(self, mesh: Mesh, dtype: torch.dtype) -> None:
        """Begin; `dtype` is that of activations between stages."""
        self.mesh, self.group, self.dtype = mesh, mesh.pipeline, dtype

    def train(self, schedule: str, forward: Forward, shapes: list[Shape]) -> Tensor:
        """Do the forward and backward passes of a step.

        Args:
            schedule: afab or 1f1b.
            forward: The stage.
            shapes: Of the activations of each micro-batch.

        Returns:
            The sum of the losses; 0 where this is not the last stage.
        """
        batch = _Passes(self, forward, shapes)
        if schedule == "afab":
            batch.all_forward_all_backward()
        else:
            batch.one_forward_one_backward()
        return batch.loss

    def evaluate(self, forward: Forward, shapes: list[Shape]) -> Iterator[Tensor]:
        """Do forward passes alone; yield the losses, on the last stage."""
        for number, shape in enumerate(shapes):
            output = forward(number, self.from_before(shape))
            if self.mesh.last_stage:
                yield output
            else:
                self.to_next(output)

    def from_before(self, shape: Shape, gradient: Tensor | None = None) -> Tensor | None:
        """Receive activations from the stage before, and send it a gradient; None on the first."""
        if self.mesh.first_stage:
            return None
        received = torch.empty(shape, dtype=self.dtype, device=self.mesh.device)
        self.group.exchange(gradient, -1, received, -1)
        return received

    def to_before(self, gradient: Tensor | None) -> None:
        """Send a gradient to the stage before."""
        if not self.mesh.first_stage:
            self.group.exchange(gradient, -1, None, -1)

    def to_next(self, output: Tensor) -> None:
        """Send activations to the next stage."""
        if not self.mesh.last_stage:
            self.group.exchange(output, 1, None, 1)

    def from_next(self, like: Tensor, output: Tensor | None = None) -> Tensor | None:
        """Receive a gradient from the next stage, and send it activations; None on the last."""
        if self.mesh.last_stage:
            return None
        received = torch.empty_like(like)
        self.group.exchange(output, 1, received, 1)
        return received


class _Passes:
    """The passes of one step; what a forward pass leaves is kept for its backward pass."""

    def __init__(self, pipeline: Pipeline, forward: Forward, shapes: list[Shape]) -> None:
        self.pipeline, self.forward, self.shapes = pipeline, forward, shapes
        self.kept: deque[tuple[Tensor | None, Tensor]] = deque()
        self.done = 0
        self.loss = torch.zeros((), dtype=torch.float64, device=pipeline.mesh.device)

    def all_forward_all_backward(self) -> None:
        for shape in self.shapes:
            self.pipeline.to_next(self._forward(self.pipeline.from_before(shape)))
        for _ in self.shapes:
            gradient = self.pipeline.from_next(self.kept[0][1])
            self.pipeline.to_before(self._backward(gradient))

    def one_forward_one_backward(self) -> None:
        pipe, shapes = self.pipeline, self.shapes
        ahead = min(len(shapes), pipe.group.size - 1 - pipe.group.rank)
        for shape in shapes[:ahead]:
            pipe.to_next(self._forward(pipe.from_before(shape)))
        received = pipe.from_before(shapes[ahead]) if ahead < len(shapes) else None
        for number in range(ahead, len(shapes)):
            output = self._forward(received)
            gradient = self._backward(pipe.from_next(self.kept[0][1], output))
            if number + 1 < len(shapes):
                received = pipe.from_before(shapes[number + 1], gradient)
            else:
                pipe.to_before(gradient)
        for _ in range(ahead):
            pipe.to_before(self._backward(pipe.from_next(self.kept[0][1])))

    def _forward(self, received: Tensor | None) -> Tensor:
        if received is not None:
            received.requires_grad_()
        output = self.forward(self.done, received)
        self.done += 1
        self.kept.append((received, output))
        if self.pipeline.mesh.last_stage:
            self.loss += output.detach()
        return output.detach()

    def _backward(self, gradient: Tensor | None) -> Tensor | None:
        received, output = self.kept.popleft()
        torch.autograd.backward(output, gradient)
        return None if received is None else received.grad
