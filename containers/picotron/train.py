"""torchrun --standalone --nproc-per-node=2 train.py --checkpoints /tmp/picotron

Trains a decoder of the Llama family by data, tensor, pipeline and context parallelism in any
combination: gloo on CPUs, nccl on GPUs. Rank 0 prints one JSON object per line. Started again with
the same --checkpoints it goes on after the newest one. Exit status of a process: 0 done, 1 it could
not go on (a lost process, a full disk), 2 wrong configuration, data or checkpoint, 3 diverged.
"""

import math
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from checkpoint import Checkpoints
from configuration import Configuration, load
from data import Batch, Data
from gradients import add_up, clip, demand_same_start
from mesh import Mesh
from model import Stage, flops_per_token, initialise, parameters_of
from pipeline import Forward, Pipeline
from torch import Tensor
from training.arguments import parser
from training.records import DIVERGED, Log, Stop, run
from training.speed import Meter

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/tiny.json"
BETAS = (0.9, 0.95)


class Trainer:
    """One process's part of a training."""

    def __init__(self, config: Configuration, folder: Path, mesh: Mesh) -> None:
        self.config, self.mesh, self.step = config, mesh, 0
        self.log = Log(mesh.world.rank)
        dtype = torch.float64 if config.precision == "float64" else torch.float32
        self.stage = Stage(config, mesh).to(mesh.device, dtype)
        initialise(self.stage)
        demand_same_start(self.stage, mesh)
        self.parameters = list(self.stage.parameters())
        self.optimizer = make_optimizer(config, self.parameters)
        self.pipeline = Pipeline(mesh, dtype)
        self.data = Data(config, mesh, self.stage.context)
        self.checkpoints = Checkpoints(folder, config, mesh)
        self.tokens = config.global_batch_size * config.sequence
        processes = mesh.world.size
        self.meter = Meter(self.tokens, flops_per_token(config), processes, mesh.device)

    def run(self) -> None:
        """Train to the last step, from the newest checkpoint if there is one, and evaluate."""
        self._say_start()
        self._resume()
        began = time.perf_counter()
        self.meter.restart()
        while self.step < self.config.steps:
            loss, norm = self.train_step()
            speed, last = self.meter.step(), self.step == self.config.steps
            if self.step % self.config.log_every == 0 or last:
                self.log("step", self.step, loss=loss, norm=norm, **speed)
            if self.step % self.config.checkpoint_every == 0 or last:
                self._save()
                self.meter.restart()
        speed = {"seconds": round(time.perf_counter() - began, 3), "tokens_per_s": 0.0}
        speed |= self.meter.mean()
        self.log("final", self.step, **speed, **self.evaluate(), parameters_sha256=self.digest())

    def train_step(self) -> tuple[float, float]:
        """Do one optimizer step; return the global batch's mean loss, and the gradient's norm.

        Raises:
            Stop: One of them is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(self.step)
        batches = self.data.step(self.step)
        shapes = [self.stage.activations_shape(len(tokens)) for tokens, _ in batches]
        total = self.pipeline.train(self.config.schedule, self._forward(batches), shapes)
        add_up(self.parameters, self.mesh, sequence_parallel=self.stage.split.sequence_parallel)
        norm = clip(self.parameters, self.mesh, self.config.gradient_clip)
        loss = self._over_all(total).item()
        if not math.isfinite(loss + norm):
            told = f"the loss is {loss}, the gradient's norm {norm}, at step {self.step + 1}"
            raise Stop(DIVERGED, told)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return loss, norm

    @torch.no_grad()
    def evaluate(self) -> dict[str, Any]:
        """Return the mean loss on the held-out text, and how many sequences that is."""
        batches = list(self.data.held_out())
        shapes = [self.stage.activations_shape(len(tokens)) for tokens, _ in batches]
        forward = self._forward(batches)
        # Of a sequence every context parallel process counts its part.
        counts = sum(tokens.numel() for tokens, _ in batches) / self.config.sequence
        total = torch.zeros(2, dtype=torch.float64, device=self.mesh.device)
        for loss in self.pipeline.evaluate(forward, shapes):
            total[0] += loss * self.tokens
        total[1] = counts if self.mesh.last_stage else 0.0
        total = self._over_all(total)
        loss = (total[0] / total[1] / self.config.sequence).item()
        return {"loss": loss, "held_out": round(total[1].item())}

    def digest(self) -> str:
        """Return the SHA-256 of the weights: of the digests of the parts, in order.

        Raises:
            RuntimeError: Processes that must have the same weights do not.
        """
        weights = (value.detach().cpu().contiguous() for value in self.parameters)
        content = sha256()
        for value in weights:
            content.update(value.view(torch.uint8).numpy().tobytes())
        place = (self.mesh.pipeline.rank, self.mesh.tensor.rank)
        said = set(self.mesh.world.say((place, content.hexdigest())))
        if len(said) != self.mesh.model.size:
            raise RuntimeError(f"processes ended with different weights: {sorted(said)}")
        return sha256(repr(sorted(said)).encode()).hexdigest()

    def _forward(self, batches: list[Batch]) -> Forward:
        """Return the stage as the pipeline calls it; losses are parts of the global mean."""

        def forward(number: int, received: Tensor | None) -> Tensor:
            with self._precision():
                output = self.stage(received, *batches[number])
            return output / self.tokens if self.mesh.last_stage else output

        return forward

    def _precision(self) -> AbstractContextManager[Any]:
        enabled = self.config.precision == "bfloat16"
        return torch.autocast(self.mesh.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _over_all(self, total: Tensor) -> Tensor:
        """Return the sum over all processes; tensor parallel ones have the same, so one counts."""
        mine = total if self.mesh.tensor.rank == 0 else torch.zeros_like(total)
        return self.mesh.world.all_reduce(mine.clone())

    def _save(self) -> None:
        parts = {"stage": self.stage.state_dict(), "optimizer": self.optimizer.state_dict()}
        self.checkpoints.save(self.step, {"step": self.step, **parts})
        self.log("checkpoint", self.step)

    def _resume(self) -> None:
        if (state := self.checkpoints.load()) is None:
            return
        self.stage.load_state_dict(state["stage"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.log("resume", self.step)

    def _say_start(self) -> None:
        mesh, windows = self.mesh, self.data.windows
        facts = {"world_size": mesh.world.size, "backend": dist.get_backend()}
        facts |= {"torch": torch.__version__, "samples": len(windows.train)}
        facts |= {"parameters": parameters_of(self.config)[0], "layout": asdict(mesh.layout)}
        self.log("start", 0, **facts, configuration=asdict(self.config))


def make_optimizer(
    config: Configuration, parameters: list[torch.nn.Parameter]
) -> torch.optim.AdamW:
    """Return AdamW; norms do not decay."""
    matrices = [p for p in parameters if p.dim() > 1]
    norms = [p for p in parameters if p.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": norms, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one process.

    Raises:
        Stop: It cannot go on; with the exit status and the reason.
    """
    options = parser(DEFAULT_CONFIGURATION).parse_args(arguments)
    config = load(options.configuration, options.set)
    layout = config.layout(int(os.environ.get("WORLD_SIZE", "1")))
    patience, cuda = timedelta(seconds=options.timeout_s), torch.cuda.is_available()
    device = torch.device("cpu")
    if cuda:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=patience)
    Trainer(config, options.checkpoints, Mesh(layout, device, patience)).run()
    dist.destroy_process_group()


if __name__ == "__main__":
    run(main)
