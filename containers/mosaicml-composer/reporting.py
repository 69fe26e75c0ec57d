"""Tells of a Composer training by the records that all test cases print."""

import math
import shutil
from pathlib import Path

import torch
import torch.distributed as dist
from composer import Callback, Logger, State
from composer.callbacks import CheckpointSaver
from training.records import DIVERGED, Log, Stop
from training.speed import Meter


class Reporter(Callback):
    """A record for each step; ends the training if the loss is not finite."""

    def __init__(self, log: Log, meter: Meter, rate: str, tokens_per_sample: int) -> None:
        """Begin.

        Args:
            log: Prints.
            meter: Counts tokens; of images, one for each.
            rate: Name of what is counted: tokens_per_s or samples_per_s.
            tokens_per_sample: Of a sequence; 1 for an image.
        """
        self.log, self.meter, self.rate, self.tokens = log, meter, rate, tokens_per_sample
        self.total = torch.zeros(())

    def batch_start(self, state: State, logger: Logger) -> None:  # noqa: ARG002
        """Leave out the time of a checkpoint."""
        self.meter.restart()

    def after_loss(self, state: State, logger: Logger) -> None:  # noqa: ARG002
        """Take the loss of a micro-batch, before Composer scales it."""
        loss = state.loss if isinstance(state.loss, torch.Tensor) else sum(state.loss.values())
        self.total = self.total.to(loss.device) + loss.detach() * len(state.batch[0])

    def batch_end(self, state: State, logger: Logger) -> None:  # noqa: ARG002
        """Print the step; its loss is the mean over the global batch."""
        told = self.meter.step()
        if dist.is_initialized():
            dist.all_reduce(self.total)
        loss = self.total.item() / state.train_dataloader.dataset.source.batch_size
        step = int(state.timestamp.batch)
        self.total = torch.zeros(())
        if not math.isfinite(loss):
            raise Stop(DIVERGED, f"the loss is {loss} at step {step}")
        self.log("step", step, loss=loss, **self.named(told))

    def named(self, told: dict[str, float]) -> dict[str, float]:
        """Speed by the name of what is counted."""
        rest = dict(told)
        rate = rest.pop("tokens_per_s", 0.0)
        return {self.rate: rate, **rest}


class Saver(CheckpointSaver):
    """Composer's own checkpoints; a full disk leaves the one before and says so."""

    def __init__(self, log: Log, folder: Path, every: int, keep: int) -> None:
        super().__init__(
            str(folder),
            remote_file_name=None,
            latest_remote_file_name=None,
            save_interval=f"{every}ba",
            overwrite=True,
            num_checkpoints_to_keep=keep,
        )
        self.log, self.place = log, folder

    def _save_checkpoint(self, state: State, logger: Logger) -> None:
        step = int(state.timestamp.batch)
        try:
            super()._save_checkpoint(state, logger)
        except (OSError, RuntimeError) as error:  # torch tells of a full disk by a RuntimeError
            free = shutil.disk_usage(self.place).free // 10**6
            told = f"the checkpoint of step {step} cannot be written: {error}; {free} MB are free"
            raise Stop(1, f"{told}; what latest-rank0.pt leads to is whole") from error
        self.log("checkpoint", step)


def weights_of(model: torch.nn.Module) -> list[torch.Tensor]:
    """What this rank holds of all weights, in the order of their names."""
    named = sorted(model.named_parameters(), key=lambda pair: pair[0])
    return [getattr(weight, "to_local", lambda weight=weight: weight)() for _, weight in named]
