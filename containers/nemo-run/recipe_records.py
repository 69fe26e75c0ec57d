"""What a recipe of NeMo 2 says while it trains: the records of the other test cases.

Imported by recipe.py where NeMo is; Lightning comes with it.
"""

import math
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from training.records import DIVERGED, Log, Stop

LOSS, HELD_OUT = "reduced_train_loss", "val_loss"
"""What NeMo calls the losses."""


class Records(Callback):
    """Prints one JSON object per line on rank 0; ends a training whose loss is not finite."""

    def __init__(self, tokens: int, log_every: int) -> None:
        self.tokens, self.log_every = tokens, log_every  # tokens of an optimizer step
        self.began = self.before = 0.0
        self.log = Log(0)

    def on_train_start(self, trainer: Trainer, _module: LightningModule) -> None:
        """Print `start`, and `resume` where a checkpoint was read."""
        self.log = Log(trainer.global_rank)
        self.log("start", 0, world_size=trainer.world_size)
        if trainer.global_step:
            self.log("resume", trainer.global_step)
        self.began = self.before = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Print `step`."""
        step, loss = trainer.global_step, _metric(trainer, LOSS)
        if not math.isfinite(loss):
            raise Stop(DIVERGED, f"the loss is {loss} at step {step}")
        seconds = time.perf_counter() - self.before
        self.before += seconds
        if step % self.log_every == 0:
            self.log("step", step, loss=loss, tokens_per_s=round(self.tokens / seconds, 1))

    def on_train_end(self, trainer: Trainer, _module: LightningModule) -> None:
        """Print `final`."""
        seconds = round(time.perf_counter() - self.began, 3)
        told: dict[str, object] = {"seconds": seconds}
        if HELD_OUT in trainer.callback_metrics:
            told["loss"] = _metric(trainer, HELD_OUT)
        self.log("final", trainer.global_step, **told)


def _metric(trainer: Trainer, name: str) -> float:
    return float(trainer.callback_metrics[name])
