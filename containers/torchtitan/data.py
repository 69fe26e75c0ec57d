"""The shared text as torchtitan wants its data: batches of each data-parallel rank, a state."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.config import JobConfig
from training.corpus import corpus
from training.text import Windows, bytes_of

Batch = tuple[dict[str, Tensor], Tensor]


def windows_of(job: JobConfig, copies: int) -> Windows:
    """Return the windows of the job's text, of which a global batch depends on the step alone."""
    training = job.training
    batch = training.global_batch_size
    if batch < 0:  # torchtitan's way to say: one turn
        batch = training.local_batch_size * copies
    path = Path(training.dataset_path) if training.dataset_path else None
    return Windows(bytes_of(corpus(path)), training.seq_len, job.debug.seed or 0, batch)


class Text(BaseDataLoader):
    """Micro-batches of one data-parallel rank, from the step that the state says."""

    def __init__(self, windows: Windows, rank: int, copies: int, size: int) -> None:
        self.windows, self.rank, self.copies, self.size, self.step = windows, rank, copies, size, 0

    def __iter__(self) -> Iterator[Batch]:
        """Yield them without end."""
        while True:
            inputs, targets = self.windows.batch(self.step, self.rank, self.copies)
            self.step += 1
            for some in zip(inputs.split(self.size), targets.split(self.size), strict=True):
                yield {"input": some[0]}, some[1]

    def state_dict(self) -> dict[str, Any]:
        """Return the position: batches are taken whole before a checkpoint."""
        return {"batches": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to a position."""
        self.step = state_dict["batches"]


def build_text(
    dp_world_size: int,
    dp_rank: int,
    job_config: JobConfig,
    tokenizer: object = None,  # noqa: ARG001  # torchtitan passes it; a token is a byte
) -> Text:
    """As torchtitan's TrainSpec wants it."""
    windows = windows_of(job_config, dp_world_size)
    return Text(windows, dp_rank, dp_world_size, job_config.training.local_batch_size)
