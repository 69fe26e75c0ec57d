"""Text to train on, and windows of it: which ones a rank sees depends on nothing but the step."""

from collections.abc import Iterator

import torch
from torch import Tensor

from training.corpus import HELD_OUT
from training.records import WRONG_INPUT, Stop


def bytes_of(text: bytes) -> Tensor:
    """Return a text as tokens, one for each byte: int64 [length]."""
    return torch.frombuffer(bytearray(text), dtype=torch.uint8).long()


class Windows:
    """Windows of a text: every one once per epoch, each seen by one rank.

    A global batch depends on the seed and the step alone. How many ranks share it, and whether the
    run was resumed, makes no difference.
    """

    def __init__(self, tokens: Tensor, length: int, seed: int, batch: int) -> None:
        """Cut a text into windows that do not overlap.

        Args:
            tokens: int64 [length of the text].
            length: Tokens that a model sees at once.
            seed: Gives the order of each epoch.
            batch: Windows of a global batch.

        Raises:
            Stop: The text is too short for one global batch.
        """
        self.length, self.seed, self.batch_size = length, seed, batch
        whole = tokens.unfold(0, length + 1, length)  # a target is the next window's first input
        held_out = max(1, len(whole) // HELD_OUT)
        self.train, self.test = whole[:-held_out], whole[-held_out:]
        if len(self.train) < batch:
            raise Stop(
                WRONG_INPUT,
                f"the text has {len(self.train)} windows of {length} tokens to train on, "
                f"fewer than one global batch of {batch}",
            )

    @property
    def steps_per_epoch(self) -> int:
        """Global batches of an epoch; windows that do not fill one are left out of it."""
        return len(self.train) // self.batch_size

    def batch(self, step: int, part: int = 0, parts: int = 1) -> tuple[Tensor, Tensor]:
        """Return one part of the global batch of a step.

        Args:
            step: 0 for the first.
            part: Which one: the data-parallel rank.
            parts: How many there are; they differ by at most one window.

        Returns:
            Inputs and targets: int64 [windows of the part, length] each.
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.train), generator=generator)
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        windows = self.train[chosen[part::parts]]
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()

    def held_out(self, size: int, most: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets of the windows that are never trained on.

        Args:
            size: Windows of a batch; the last one may be smaller.
            most: Windows in all; None for all that there are.
        """
        windows = self.test[:most]
        for begin in range(0, len(windows), size):
            some = windows[begin : begin + size]
            yield some[:, :-1].contiguous(), some[:, 1:].contiguous()
