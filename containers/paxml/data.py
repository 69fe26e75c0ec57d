"""Windows of a text, as PaxML takes them: which ones a process sees depends on the step alone."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from praxis import base_input
from praxis.py_utils import NestedMap
from training.corpus import HELD_OUT, corpus
from training.records import WRONG_INPUT, Stop

Tokens = NDArray[np.int32]


@lru_cache(maxsize=1)
def windows(path: str | None, length: int) -> tuple[Tokens, Tokens]:
    """Windows to train on, and those held out: [windows, length + 1], cut without overlap."""
    tokens = np.frombuffer(corpus(Path(path) if path else None), dtype=np.uint8).astype(np.int32)
    count = (len(tokens) - 1) // length
    if count < 2:
        raise Stop(WRONG_INPUT, f"the text has fewer than two windows of {length} tokens")
    # A target is the next window's first input.
    starts = np.arange(count)[:, None] * length + np.arange(length + 1)
    held_out = max(1, count // HELD_OUT)
    whole = tokens[starts]
    return whole[:-held_out], whole[-held_out:]


class Windows(base_input.BaseInput):  # type: ignore[misc]
    """This process's part of a global batch.

    Attributes:
        path: A file or folder; Python's help pages if none.
        length: Tokens that the model sees at once.
        seed: Gives the order of each epoch.
        step: Of the next batch; the trainer sets it, so that a resumed run sees what an unbroken
            one would.
    """

    path: str | None = None
    length: int = 0
    seed: int = 0
    step: int = 0

    def get_next(self) -> NestedMap:
        """Return the batch of `step`."""
        chosen = self._trained_on() if self.is_training else self._held_out()
        self.step += 1
        mine = chosen[self.infeed_host_index :: self.num_infeed_hosts]
        lacking = self.batch_size - len(mine)  # all batches have the same shape
        counts = np.repeat([1.0, 0.0], [len(mine), lacking]).astype(np.float32)
        padded = np.pad(mine, ((0, lacking), (0, 0)))
        inputs = padded[:, :-1]
        weights = np.broadcast_to(counts[:, None], inputs.shape).copy()
        return NestedMap(
            ids=inputs,
            labels=padded[:, 1:],
            weights=weights,
            paddings=np.zeros_like(weights),
            segment_ids=np.ones_like(inputs),
            segment_pos=np.broadcast_to(np.arange(self.length, dtype=np.int32), inputs.shape),
        )

    def reset(self) -> None:
        """Begin again, for another evaluation."""
        super().reset()
        self.step = 0

    def _trained_on(self) -> Tokens:
        train, _ = windows(self.path, self.length)
        whole = self.batch_size * self.num_infeed_hosts
        per_epoch = len(train) // whole
        if not per_epoch:
            told = f"the text has {len(train)} windows, fewer than one global batch of {whole}"
            raise Stop(WRONG_INPUT, told)
        epoch, index = divmod(self.step, per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(train))
        return train[order[index * whole : (index + 1) * whole]]

    def _held_out(self) -> Tokens:
        whole = self.batch_size * self.num_infeed_hosts
        return windows(self.path, self.length)[1][self.step * whole : (self.step + 1) * whole]
