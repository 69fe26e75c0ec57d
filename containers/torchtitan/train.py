"""torchrun --standalone --nproc-per-node=2 train.py --checkpoints /tmp/titan

Trains Llama 3 by torchtitan's own Trainer, from its own job configuration (TOML); what is ours are
the text, and the records of its metrics that rank 0 prints, one JSON object per line. Without a GPU
its calls are led to the CPU (cpu_shim.py). Started again with the same --checkpoints it goes on
after the newest one. Exit status of a process: 0 done, 1 it could not go on, 2 wrong
configuration, checkpoint or data, 3 the loss diverged.
"""

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from training import checkpoints, speed
from training.arguments import parser
from training.records import DIVERGED, WRONG_INPUT, Log, Stop, run

SHIM = not torch.cuda.is_available()
if SHIM:
    import cpu_shim

    cpu_shim.install()

from data import build_text  # noqa: E402  # they import torchtitan
from torch.distributed.tensor import DTensor  # noqa: E402
from torchtitan.components.metrics import BaseLogger, MetricsProcessor  # noqa: E402
from torchtitan.config import ConfigManager, JobConfig  # noqa: E402
from torchtitan.models.llama3 import get_train_spec  # noqa: E402
from torchtitan.protocols.train_spec import register_train_spec  # noqa: E402
from torchtitan.tools.logging import init_logger  # noqa: E402
from torchtitan.train import Trainer  # noqa: E402

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/tiny.toml"
HELD_OUT = 720


class Records(BaseLogger):
    """Prints what torchtitan measured of a step as our record."""

    def __init__(self) -> None:
        self.print, self.ranks = Log(dist.get_rank()), dist.get_world_size()
        self.rates: list[float] = []

    def log(self, metrics: dict[str, Any], step: int) -> None:
        """As torchtitan's loggers."""
        loss = metrics["loss_metrics/global_avg_loss"]
        if not math.isfinite(loss):
            raise Stop(DIVERGED, f"the loss is {loss} at step {step}")
        values = {"loss": loss, "norm": metrics["grad_norm"], "learning_rate": metrics["lr"]}
        rate = round(metrics["throughput(tps)"] * self.ranks, 1)
        self.rates.append(rate)
        memory = metrics["memory/max_reserved(GiB)"]
        if SHIM:  # torchtitan knows neither the memory nor the FLOP/s of a CPU
            memory = speed.Meter(1, 1.0, 1, torch.device("cpu")).memory_gib()
        else:
            values["mfu"] = round(metrics["mfu(%)"] / 100, 4)
        self.print("step", step, **values, tokens_per_s=rate, mem_gib=round(memory, 3))

    def mean(self) -> float:
        """Return tokens per second without the first two steps."""
        counted = self.rates[2:]
        return round(len(counted) / sum(1 / one for one in counted), 1) if counted else 0.0


class Metrics(MetricsProcessor):
    """torchtitan's, with our records in the place of TensorBoard."""

    def __init__(self, job: JobConfig, dimensions: Any, *_: Any) -> None:
        super().__init__(job, dimensions)
        self.logger = Records()


class Run(Trainer):
    """torchtitan's trainer, which tells of checkpoints and validates on our held-out text."""

    def go(self) -> None:
        """Train to the last step, from the newest checkpoint if there is one, and validate."""
        log, folder = Log(dist.get_rank()), Path(self.job_config.job.dump_folder)
        self._say_start(log)
        self._tell_checkpoints(log, folder / self.job_config.checkpoint.folder)
        began = time.perf_counter()
        self.train()
        seconds = round(time.perf_counter() - began, 3)
        rate = self.metrics_processor.logger.mean()
        log("final", self.step, seconds=seconds, tokens_per_s=rate, **self._validate())

    def _say_start(self, log: Log) -> None:
        job = self.job_config
        facts = {"world_size": dist.get_world_size(), "backend": dist.get_backend(), "shim": SHIM}
        count = sum(value.numel() for part in self.model_parts for value in part.parameters())
        facts |= {"torch": torch.__version__, "parameters": count}
        told = {"steps": job.training.steps, **asdict(job)}
        log("start", 0, **facts, samples=len(self.dataloader.windows.train), configuration=told)

    def _tell_checkpoints(self, log: Log, folder: Path) -> None:
        save, load = self.checkpointer.save, self.checkpointer.load

        def saved(curr_step: int, last_step: bool = False) -> None:
            save(curr_step, last_step=last_step)
            if (folder / f"step-{curr_step}" / ".metadata").exists():  # written last
                log("checkpoint", curr_step)

        def loaded(step: int = -1) -> bool:
            done = bool(load(step=step))
            if done:
                log("resume", self.step)
            return done

        self.checkpointer.save, self.checkpointer.load = saved, loaded

    @torch.no_grad()
    def _validate(self) -> dict[str, Any]:
        """Return the mean loss on held-out text, which the copies share, and its sequences."""
        text, size = self.dataloader, self.job_config.training.local_batch_size
        turn = size * text.copies
        whole = min(len(text.windows.test), HELD_OUT) // turn * turn
        pairs = next(text.windows.held_out(whole, whole))
        mine = [part[text.rank :: text.copies].split(size) for part in pairs]
        total = torch.zeros((), device=self.device)
        model = self.model_parts[0].eval()
        for inputs, targets in zip(*mine, strict=True):
            with self.train_context(), self.maybe_enable_amp:
                answer = model(inputs.to(self.device))
                loss = self.loss_fn(answer, targets.to(self.device)) / targets.numel()
            total += (loss.full_tensor() if isinstance(loss, DTensor) else loss) / len(mine[0])
        dist.all_reduce(total)
        return {"loss": total.item() / dist.get_world_size(), "held_out": whole}


def load(path: Path, folder: Path, timeout_s: float) -> JobConfig:
    """Read a job configuration of torchtitan.

    Raises:
        Stop: It cannot be read, or asks for what this program does not do.
    """
    told = [f"--job.config_file={path}", f"--job.dump_folder={folder}"]
    told += [f"--comm.init_timeout_seconds={int(timeout_s)}"]
    told += [f"--comm.train_timeout_seconds={int(timeout_s)}"]
    try:
        job = ConfigManager().parse_args(told)
    except (SystemExit, Exception) as error:
        message = f"{path} is no configuration: {type(error).__name__} {error}"
        raise Stop(WRONG_INPUT, message) from error
    if job.parallelism.pipeline_parallel_degree > 1:
        message = "the losses of pipeline stages looked wrong when tried, and were not explained"
        raise Stop(WRONG_INPUT, f"{path}: pipeline_parallel_degree above 1: {message}")
    return job


def demand_same_training(job: JobConfig, folder: Path) -> None:
    """Refuse checkpoints of another training."""
    now = {**asdict(job.model), **asdict(job.training), **asdict(job.optimizer)}
    whole = (folder / job.checkpoint.folder).glob("step-*/.metadata")  # as torchtitan finds them
    checkpoints.demand_same_training(
        folder, json.loads(json.dumps(now, default=str)), int(os.environ["RANK"]), there=any(whole)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one rank.

    Raises:
        Stop: It cannot go on; with the exit status and the reason.
    """
    options = parser(DEFAULT_CONFIGURATION, changes=False).parse_args(arguments)
    init_logger()
    job = load(options.configuration, options.checkpoints, options.timeout_s)
    demand_same_training(job, options.checkpoints)
    ours = {"build_dataloader_fn": build_text, "build_metrics_processor_fn": Metrics}
    ours |= {"build_tokenizer_fn": None, "build_validator_fn": None, "state_dict_adapter": None}
    register_train_spec(job.model.name, replace(get_train_spec(), **ours))
    Run(job).go()
    dist.destroy_process_group()


if __name__ == "__main__":
    run(main)
