"""torchrun --standalone --nproc-per-node=2 train.py --checkpoints /tmp/megatron

Trains a GPT of Megatron-Core, split by tensors, stages and sequences; what is left of the processes
are copies. On GPUs over nccl; without one over gloo, with CUDA calls led to the CPU (cpu_shim.py).
Rank 0 prints one JSON object per line. Started again with the same --checkpoints it goes on after
the newest one. Exit status of a process: 0 done, 1 it could not go on (a lost rank, a full disk),
2 wrong configuration, data or checkpoint, 3 the loss diverged.
"""

import argparse
import math
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from configuration import MAY_CHANGE, Configuration, load
from torch import Tensor, nn
from training import checkpoints, digests
from training.arguments import parser
from training.corpus import corpus
from training.records import DIVERGED, WRONG_INPUT, Log, Stop, run
from training.speed import Meter
from training.text import Windows, bytes_of

SHIM = not torch.cuda.is_available()
if SHIM:
    import cpu_shim

    cpu_shim.install()

from checkpoint import Checkpoints  # noqa: E402  # they import Megatron
from megatron.core import parallel_state, tensor_parallel  # noqa: E402
from megatron.core.distributed import finalize_model_grads  # noqa: E402
from megatron.core.pipeline_parallel import get_forward_backward_func  # noqa: E402
from megatron.core.utils import get_batch_on_this_cp_rank, get_model_config  # noqa: E402
from model import make_model, make_optimizer  # noqa: E402

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/tiny.json"
Batch = dict[str, Tensor]


class Trainer:
    """The state of one training on one rank."""

    def __init__(self, config: Configuration, options: argparse.Namespace) -> None:
        self.config, self.step, self.device = config, 0, _device()
        self.ranks, self.log = dist.get_world_size(), Log(dist.get_rank())
        self.copies, self.copy = (
            config.data_parallel(self.ranks),
            parallel_state.get_data_parallel_rank(),
        )
        text = bytes_of(corpus(options.data))
        length = config.sequence_length
        self.windows = Windows(text, length, config.seed, config.global_batch_size)
        self.model = make_model(config, self.device)
        self.optimizer, self.schedule = make_optimizer(config, self.model)
        self._tell_schedules()
        parts = (self.model, self.optimizer, self.schedule)
        self.checkpoints = Checkpoints(options.checkpoints, config.keep_checkpoints, *parts)
        flops = config.architecture.flops_per_token(length)
        tokens = config.global_batch_size * length
        self.meter = Meter(tokens, flops, self.ranks, self.device)

    def run(self) -> None:
        """Train to the last step, from the newest checkpoint if there is one, and validate."""
        self._say_start()
        self._resume()
        began = time.perf_counter()
        self.meter.restart()
        while self.step < self.config.steps:
            loss, norm = self._train_step()
            self._after_step(loss, norm)
        speed = {"seconds": round(time.perf_counter() - began, 3), "tokens_per_s": 0.0}
        speed |= self.meter.mean()
        digest = digests.of_shards(self.model.parameters())
        self.log("final", self.step, **speed, **self._validate(), parameters_sha256=digest)

    def _train_step(self) -> tuple[float, float | None]:
        """Do one optimizer step; return the global batch's mean loss, and the gradient's norm."""
        batch = self.windows.batch(self.step, self.copy, self.copies)
        self.model.zero_grad_buffer()
        self.optimizer.zero_grad()
        loss = self._passes(batch, forward_only=False)
        if not math.isfinite(loss):
            raise Stop(DIVERGED, f"the loss is {loss} at step {self.step + 1}")
        # The rate of a step is that after a warm-up's share: the first step already learns.
        self.schedule.step(increment=1)
        _, norm, _ = self.optimizer.step()
        self.step += 1
        return loss, norm

    def _passes(self, batch: tuple[Tensor, Tensor], *, forward_only: bool) -> float:
        """Run the schedule of micro-batches; return the mean loss over all copies, on all ranks."""
        size = self.config.micro_batch_size
        losses = get_forward_backward_func()(
            forward_step_func=_forward_step,
            data_iterator=self._micro_batches(batch),
            model=[self.model],
            num_microbatches=len(batch[0]) // size,
            seq_length=self.config.sequence_length,
            micro_batch_size=size,
            forward_only=forward_only,
        )
        # Only last stages know losses; their tensor-parallel ranks all the same, each context
        # rank that of its part of the sequences.
        total = torch.zeros((), device=self.device)
        if losses:
            total += torch.stack([one["loss"] for one in losses]).mean()
        dist.all_reduce(total)
        return total.item() / (self.ranks / self.config.pipeline)

    def _micro_batches(self, batch: tuple[Tensor, Tensor]) -> Iterator[Batch]:
        length = self.config.sequence_length
        for pair in zip(*(part.split(self.config.micro_batch_size) for part in batch), strict=True):
            tokens, labels = (part.to(self.device) for part in pair)
            positions = torch.arange(length, device=self.device).expand_as(tokens)
            parts = {"tokens": tokens, "labels": labels, "position_ids": positions}
            yield get_batch_on_this_cp_rank(parts) if self.config.context > 1 else parts

    def _after_step(self, loss: float, norm: float | None) -> None:
        config, last = self.config, self.step == self.config.steps
        speed = self.meter.step()
        if self.step % config.log_every == 0 or last:
            rate = self.optimizer.param_groups[0]["lr"]
            self.log("step", self.step, loss=loss, norm=norm, learning_rate=rate, **speed)
        if self.step % config.checkpoint_every == 0 or last:
            self.checkpoints.save({"step": self.step, "configuration": asdict(config)})
            self.log("checkpoint", self.step)
            self.meter.restart()

    def _resume(self) -> None:
        about = self.checkpoints.newest()
        if about is None:
            return
        where = checkpoints.folder_of(self.checkpoints.folder, about["step"])
        then, now = about["configuration"], asdict(self.config)
        checkpoints.demand_same(then, now, where, tuple(MAY_CHANGE.split()))
        self.checkpoints.load(about)
        self.step = about["step"]
        self.log("resume", self.step)

    @torch.no_grad()
    def _validate(self) -> dict[str, Any]:
        """Return the mean loss on held-out text, which the copies share, and its sequences."""
        turn = self.config.micro_batch_size * self.copies
        whole = min(len(self.windows.test), self.config.validation_windows) // turn * turn
        if not whole:
            raise Stop(WRONG_INPUT, f"fewer held-out sequences than one turn of {turn}")
        inputs, targets = next(self.windows.held_out(whole, whole))
        mine = slice(self.copy, None, self.copies)
        self.model.eval()
        loss = self._passes((inputs[mine], targets[mine]), forward_only=True)
        self.model.train()
        return {"loss": loss, "held_out": whole}

    def _tell_schedules(self) -> None:
        """Tell Megatron's schedules whom to ask for the sums of gradients and for the scale."""
        megatron = get_model_config(self.model)
        megatron.finalize_model_grads_func = finalize_model_grads
        megatron.grad_scale_func = self.optimizer.scale_loss
        if self.device.type == "cuda":  # sums overlap with the backward pass
            megatron.no_sync_func = self.model.no_sync

    def _say_start(self) -> None:
        config = self.config
        shape, length = config.architecture, config.sequence_length
        facts = {"world_size": self.ranks, "backend": dist.get_backend(), "shim": SHIM}
        facts |= {"torch": torch.__version__, "parameters": shape.parameters(length)}
        facts |= {"flops_per_token": shape.flops_per_token(length), "copies": self.copies}
        self.log("start", 0, **facts, samples=len(self.windows.train), configuration=asdict(config))


def _forward_step(batches: Iterator[Batch], model: nn.Module) -> tuple[Tensor, Any]:
    batch = next(batches)
    losses = model(
        input_ids=batch["tokens"],
        position_ids=batch["position_ids"],
        attention_mask=None,  # causal
        labels=batch["labels"],
    )
    return losses, partial(_mean)


def _mean(losses: Tensor) -> tuple[Tensor, Batch]:
    loss = losses.float().mean()
    return loss, {"loss": loss.detach().clone()}


def _device() -> torch.device:
    return torch.device("cpu") if SHIM else torch.device("cuda", torch.cuda.current_device())


def _meet(config: Configuration, timeout_s: float) -> None:
    """Join the other processes, and split them as the configuration says."""
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if not SHIM:
        torch.cuda.set_device(local_rank)
    dist.init_process_group("gloo" if SHIM else "nccl", timeout=timedelta(seconds=timeout_s))
    config.data_parallel(dist.get_world_size())
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=config.tensor,
        pipeline_model_parallel_size=config.pipeline,
        context_parallel_size=config.context,
        distributed_timeout_minutes=timeout_s / 60,
        create_gloo_process_groups=False,
    )
    torch.manual_seed(config.seed)
    tensor_parallel.model_parallel_cuda_manual_seed(config.seed)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what it does not know is an error, also a shortened name."""
    made = parser(DEFAULT_CONFIGURATION)
    made.add_argument("--data", type=Path, help="a text file or a folder of them")
    return made.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one rank.

    Raises:
        Stop: It cannot go on; with the exit status and the reason.
    """
    options = parse(arguments)
    config = load(options.configuration, dict(options.set))
    _meet(config, options.timeout_s)
    try:
        Trainer(config, options).run()
    finally:
        # Megatron's writer of checkpoints starts a process for a queue, which would outlive a rank
        # that ends by os._exit, and hold its output open.
        for helper in multiprocessing.active_children():
            helper.terminate()
    dist.destroy_process_group()


if __name__ == "__main__":
    run(main)
