"""torchrun --standalone --nproc-per-node=2 train.py --checkpoints /tmp/fsdp

Trains a decoder of the Llama family by any number of processes, each of which holds a part of the
model, its gradients and its optimizer (FSDP2): gloo on CPUs, nccl on GPUs. Rank 0 prints one JSON
object per line. Started again with the same --checkpoints, by as many processes or others, it goes
on after the newest one. Exit status of a process: 0 done, 1 it could not go on (a lost rank, a full
disk), 2 wrong configuration, data or checkpoint, 3 the loss diverged.
"""

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from checkpoint import Checkpoints
from configuration import MAY_CHANGE, Configuration, load
from data import open_source, validation_batches
from ranks import Ranks
from sharding import digest, make_model, make_optimizer
from torch.nn.utils import clip_grad_norm_
from training import checkpoints
from training.arguments import parser
from training.records import DIVERGED, Log, Stop, run
from training.speed import Meter

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/tiny.json"


class Trainer:
    """The state of one training on one rank."""

    def __init__(self, config: Configuration, folder: Path, ranks: Ranks) -> None:
        self.config, self.ranks, self.step = config, ranks, 0
        self.turns = config.micro_batches(ranks.ranks)
        self.log = Log(ranks.rank)
        self.source = open_source(config, ranks)
        self.model = make_model(config, ranks)
        self.optimizer = make_optimizer(config, self.model)
        keep = config.keep_checkpoints
        self.checkpoints = Checkpoints(folder, keep, ranks, self.model, self.optimizer)
        tokens = config.global_batch_size * config.context
        flops = config.architecture.flops_per_token(config.context)
        self.meter = Meter(tokens, flops, ranks.ranks, ranks.device)

    def run(self) -> None:
        """Train to the last step, from the newest checkpoint if there is one, and validate."""
        self._say_start()
        self._resume()
        began = time.perf_counter()
        self.meter.restart()
        while self.step < self.config.steps:
            loss, norm = self._train_step()
            self._after_step(loss, norm)
        if (step := self.checkpoints.end(wait=True)) is not None:
            self.log("checkpoint", step)
        speed = {"seconds": round(time.perf_counter() - began, 3), "tokens_per_s": 0.0}
        speed |= self.meter.mean()
        weights = digest(self.model, self.ranks)
        self.log("final", self.step, **speed, **self._validate(), parameters_sha256=weights)

    def _train_step(self) -> tuple[float, float]:
        """Do one optimizer step; return the global batch's mean loss, and the gradient's norm."""
        inputs, targets = (part.to(self.ranks.device) for part in self.source.batch(self.step))
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(self.step)
        total = torch.zeros(2, device=self.ranks.device)
        for turn in zip(inputs.chunk(self.turns), targets.chunk(self.turns), strict=True):
            loss = self.model(*turn) / self.turns
            loss.backward()  # FSDP takes the mean over ranks
            total[0] += loss.detach() / self.ranks.ranks
        norm = clip_grad_norm_(self.model.parameters(), self.config.gradient_clip).full_tensor()
        # One message for both, so that all ranks know in the same step that a checkpoint failed.
        total[1] = self.checkpoints.failed
        dist.all_reduce(total)
        mean, failures = total.tolist()
        if failures:
            self.checkpoints.end(wait=True)
        if not math.isfinite(mean + norm.item()):
            told = f"the loss is {mean}, the gradient's norm {norm.item()}"
            raise Stop(DIVERGED, f"{told} at step {self.step + 1}")
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return mean, norm.item()

    def _after_step(self, loss: float, norm: float) -> None:
        config, last = self.config, self.step == self.config.steps
        speed = self.meter.step()
        if self.step % config.log_every == 0 or last:
            rate = config.rate(self.step - 1)
            self.log("step", self.step, loss=loss, norm=norm, learning_rate=rate, **speed)
        if (step := self.checkpoints.end(wait=False)) is not None:
            self.log("checkpoint", step)
        saves = self.step % config.checkpoint_every == 0 or last
        validates = self.step % config.validation_every == 0 and not last
        if saves:
            self._save()
        if validates:
            self.log("validation", self.step, **self._validate())
        if saves or validates:
            self.meter.restart()

    def _save(self) -> None:
        if (step := self.checkpoints.end(wait=True)) is not None:  # never two at a time
            self.log("checkpoint", step)
        self.checkpoints.begin(
            {
                "step": self.step,
                "configuration": asdict(self.config),
                "ranks": self.ranks.ranks,
                "data": self.source.state(),
            }
        )

    def _resume(self) -> None:
        about = self.checkpoints.newest()
        if about is None:
            return
        where = checkpoints.folder_of(self.checkpoints.folder, about["step"])
        then, now = about["configuration"], asdict(self.config)
        checkpoints.demand_same(then, now, where, tuple(MAY_CHANGE.split()))
        self.checkpoints.load(about)
        self.source.load_state(about["data"])
        self.step = about["step"]
        self.log("resume", self.step, ranks=about["ranks"])

    @torch.no_grad()
    def _validate(self) -> dict[str, Any]:
        """Return the mean loss on the held-out text, which the ranks share, and its sequences."""
        config, ranks = self.config, self.ranks
        total = torch.zeros(2, dtype=torch.float64, device=ranks.device)
        self.model.eval()
        size, most = config.validation_batch_size, config.validation_windows
        for batch, counts in validation_batches(self.source, size, most, ranks.rank, ranks.ranks):
            loss = self.model(*(part.to(ranks.device) for part in batch))
            sequences = len(batch[0]) * counts
            total += torch.tensor([loss * sequences, sequences], device=ranks.device)
        self.model.train()
        dist.all_reduce(total)
        return {"loss": (total[0] / total[1]).item(), "held_out": int(total[1])}

    def _say_start(self) -> None:
        config, shape = self.config, self.config.architecture
        facts = {"world_size": self.ranks.ranks, "backend": self.ranks.backend}
        facts |= {"torch": torch.__version__, "parameters": shape.parameters()}
        facts |= {"flops_per_token": shape.flops_per_token(config.context), **self.source.about}
        self.log("start", 0, **facts, configuration=asdict(config))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what it does not know is an error, also a shortened name."""
    made = parser(DEFAULT_CONFIGURATION)
    made.add_argument("--data", help="english, python, a path or hub:NAME[:SUBSET]")
    made.add_argument("--tokenizer", help="a tokenizer.json; without it a token is a byte")
    made.add_argument("--layers", help="of the model, to fit fewer GPUs")
    return made.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one rank.

    Raises:
        Stop: It cannot go on; with the exit status and the reason.
    """
    options = parse(arguments)
    short = {name: getattr(options, name) for name in ("data", "tokenizer", "layers")}
    changes = {name: value for name, value in short.items() if value is not None}
    config = load(options.configuration, changes | dict(options.set))
    ranks = Ranks(options.timeout_s)
    try:
        Trainer(config, options.checkpoints, ranks).run()
    except Stop as stop:
        ranks.leave(stop.message)
        raise
    except Exception as error:
        raise ranks.explain(error) from error
    dist.destroy_process_group()


if __name__ == "__main__":
    run(main)
