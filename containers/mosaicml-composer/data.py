"""What is trained on: global batches that depend on the step alone, of each its part to a rank."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from configuration import Configuration
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import IterableDataset
from training.corpus import corpus
from training.records import WRONG_INPUT, Stop
from training.text import Windows, bytes_of

Batch = tuple[Tensor, Tensor]


class Digits:
    """scikit-learn's handwritten digits, enlarged; of each class every fifth is held out."""

    def __init__(self, side: int, seed: int, batch: int) -> None:
        self.seed, self.batch_size = seed, batch
        # From scikit-learn's own file: importing scikit-learn would take seconds.
        package = Path(find_spec("sklearn").origin).parent
        table = np.loadtxt(package / "datasets/data/digits.csv.gz", delimiter=",")
        images = torch.tensor(table[:, :-1] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
        images = interpolate(images, size=side, mode="bilinear", align_corners=False)
        labels = torch.tensor(table[:, -1], dtype=torch.int64)
        test = torch.zeros(len(labels), dtype=torch.bool)
        for label in range(10):
            test[torch.nonzero(labels == label)[::5]] = True
        self.train, self.test = (images[~test], labels[~test]), (images[test], labels[test])
        if batch > len(self.train[0]):
            raise Stop(WRONG_INPUT, f"there are fewer images than one global batch of {batch}")

    def batch(self, step: int, part: int, parts: int) -> Batch:
        """Return one part of a step's global batch; as `training.text.Windows`."""
        epoch, index = divmod(step, len(self.train[0]) // self.batch_size)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.train[0]), generator=generator)
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size][part::parts]
        return self.train[0][chosen], self.train[1][chosen]

    def held_out(self, size: int, most: int | None = None) -> Iterator[Batch]:
        """Yield what is never trained on."""
        images, labels = (part[:most] for part in self.test)
        for begin in range(0, len(images), size):
            yield images[begin : begin + size], labels[begin : begin + size]


def source_of(config: Configuration) -> Windows | Digits:
    """Return the samples that a kind of model is trained on."""
    if config.kind == "resnet":
        return Digits(config.model["side"], config.seed, config.global_batch_size)
    tokens = bytes_of(corpus())
    return Windows(tokens, config.model["length"], config.seed, config.global_batch_size)


class Training(IterableDataset[Batch]):
    """The batches of one rank, one for each step. Composer skips those that a resume has seen."""

    def __init__(self, source: Windows | Digits, steps: int, rank: int, ranks: int) -> None:
        self.source, self.steps, self.rank, self.ranks = source, steps, rank, ranks

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        for step in range(self.steps):
            yield self.source.batch(step, self.rank, self.ranks)


class HeldOut(IterableDataset[Batch]):
    """The held-out batches, the same on every rank: all of them measure the same mean."""

    def __init__(self, source: Windows | Digits, size: int, most: int) -> None:
        self.batches = list(source.held_out(size, most))
        self.samples = sum(len(inputs) for inputs, _ in self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)
