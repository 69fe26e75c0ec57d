"""Which tokens a process sees."""

from collections.abc import Iterator
from pathlib import Path

from configuration import Configuration
from context import Context
from mesh import Mesh
from torch import Tensor
from training.corpus import corpus
from training.text import Windows, bytes_of

Batch = tuple[Tensor, Tensor]


class Data:
    """Text as bytes; each data parallel process has other sequences, each context parallel one
    other positions of them."""

    def __init__(self, config: Configuration, mesh: Mesh, context: Context) -> None:
        """Read the text.

        Raises:
            Stop: It cannot be read, or is too short.
        """
        text = corpus(None if config.data == "english" else Path(config.data))
        self.config, self.mesh, self.context = config, mesh, context
        size = config.global_batch_size
        self.windows = Windows(bytes_of(text), config.sequence, config.seed, size)

    def step(self, step: int) -> list[Batch]:
        """Return this process's micro-batches of a step: tokens and targets, [batch, positions]."""
        data, size = self.mesh.data, self.config.micro_batch_size
        parts = self.windows.batch(step, data.rank, data.size)
        inputs, targets = (self._mine(part).split(size) for part in parts)
        return list(zip(inputs, targets, strict=True))

    def held_out(self) -> Iterator[Batch]:
        """Yield this process's micro-batches of the text that is never trained on."""
        data, size = self.mesh.data, self.config.micro_batch_size
        batches = self.windows.held_out(size * data.size, self.config.held_out_windows)
        for inputs, targets in batches:
            share = slice(data.rank, None, data.size)
            if len(inputs[share]):
                yield self._mine(inputs[share]), self._mine(targets[share])

    def _mine(self, tokens: Tensor) -> Tensor:
        positions = self.context.positions(self.config.sequence, tokens.device)
        return tokens[:, positions].to(self.mesh.device)
