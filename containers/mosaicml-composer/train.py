"""torchrun --standalone --nproc-per-node=2 train.py --checkpoints /tmp/composer

Trains by MosaicML's Composer: a decoder of MPT's shape on English text, or a small residual network
on handwritten digits. Rank 0 prints one JSON object per line. Started again with the same
--checkpoints, Composer goes on after the newest one.
Exit status of a process: 0 done, 1 it cannot go on, 2 wrong configuration, data or checkpoint,
3 the loss diverged.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import operators  # noqa: F401  # before Composer, as it says

import composer  # isort: skip
import configuration
import torch
import torch.distributed as dist
from composer import DataSpec, Evaluator, Trainer
from configuration import Configuration
from data import HeldOut, Training, source_of
from models import Mpt, ResNet
from reporting import Reporter, Saver, weights_of
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from training import checkpoints, digests, records, speed
from training.arguments import parser
from training.records import WRONG_INPUT, Stop

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/mpt-tiny.json"
LATEST = "latest-rank0.pt"  # Composer's link to the newest checkpoint
MAY_DIFFER = ("checkpoint_every", "keep_checkpoints", "micro_batch_size", "validation_samples")


def make_model(config: Configuration) -> Mpt | ResNet:
    """Return the model with the first weights of its seed."""
    torch.manual_seed(config.seed)
    return (Mpt if config.kind == "mpt" else ResNet)(**config.model)


def flops_per_token(config: Configuration, model: torch.nn.Module) -> float:
    """FLOPs of a forward and backward pass per token (PaLM's definition); 0 for images."""
    if config.kind != "mpt":
        return 0.0
    shape = config.model
    weights = sum(weight.numel() for weight in model.parameters())
    return 6 * weights + 12 * shape["layers"] * shape["length"] * shape["width"]


def loader(dataset: Any) -> DataSpec:
    """Hand batches to Composer as they are."""
    batches = DataLoader(dataset, batch_size=None)
    return DataSpec(batches, get_num_samples_in_batch=lambda batch: len(batch[0]))


def schedule(config: Configuration, step: int) -> float:
    """Share of the highest learning rate: a straight warm-up, a cosine down to a tenth."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.55 + 0.45 * float(torch.cos(torch.tensor(done * torch.pi)))


def train(config: Configuration, folder: Path, timeout_s: float) -> None:
    """Train to the last step, and measure the held-out samples."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    os.environ.setdefault("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    if config.global_batch_size % ranks:
        raise Stop(WRONG_INPUT, f"global_batch_size must be a multiple of the {ranks} processes")
    there = (folder / LATEST).exists()
    checkpoints.demand_same_training(
        folder, asdict(config), rank, there=there, may_differ=MAY_DIFFER
    )
    cuda = torch.cuda.is_available()
    if config.sharding == "full" and not cuda:
        raise Stop(WRONG_INPUT, "sharding full is Composer's FSDP, which needs GPUs")
    model, source, log = make_model(config), source_of(config), records.Log(rank)
    length = config.model.get("length", 1)
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    flops = flops_per_token(config, model)
    meter = speed.Meter(config.global_batch_size * length, flops, ranks, device)
    rate = "tokens_per_s" if config.kind == "mpt" else "samples_per_s"
    reporter = Reporter(log, meter, rate, length)
    held_out = HeldOut(source, config.micro_batch_size, config.validation_samples)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, (0.9, 0.95), weight_decay=config.weight_decay
    )
    begun = (folder / LATEST).exists()
    log(
        "start",
        0,
        world_size=ranks,
        backend="nccl" if cuda else "gloo",
        composer=composer.__version__,
        torch=torch.__version__,
        parameters=sum(weight.numel() for weight in model.parameters()),
        configuration=asdict(config),
    )
    trainer = Trainer(
        model=model,
        train_dataloader=loader(Training(source, config.steps, rank, ranks)),
        eval_dataloader=Evaluator(
            label="held_out",
            dataloader=loader(held_out),
            device_eval_microbatch_size=config.micro_batch_size,
        ),
        eval_interval=0,
        optimizers=optimizer,
        schedulers=LambdaLR(optimizer, lambda step: schedule(config, step)),
        step_schedulers_every_batch=True,
        max_duration=f"{config.steps}ba",
        device="gpu" if cuda else "cpu",
        precision=config.precision,
        device_train_microbatch_size=min(
            config.micro_batch_size, config.global_batch_size // ranks
        ),
        parallelism_config={"fsdp": {"sharding_strategy": "FULL_SHARD"}}
        if config.sharding == "full"
        else None,
        callbacks=[
            reporter,
            Saver(log, folder, config.checkpoint_every, config.keep_checkpoints),
        ],
        load_path=str(folder / LATEST) if begun else None,
        seed=config.seed,
        dist_timeout=timeout_s,
        progress_bar=False,
        log_to_console=False,
    )
    if begun:
        log("resume", int(trainer.state.timestamp.batch))
    began = time.perf_counter()
    if int(trainer.state.timestamp.batch) < config.steps:
        trainer.fit()
    seconds = round(time.perf_counter() - began, 3)
    trainer.eval()
    found = {
        name: float(metric.compute())
        for name, metric in trainer.state.eval_metrics["held_out"].items()
    }
    of_weights = digests.of_copies if config.sharding == "none" else digests.of_shards
    log(
        "final",
        int(trainer.state.timestamp.batch),
        **found,
        held_out=held_out.samples,
        seconds=seconds,
        **reporter.named(meter.mean()),
        parameters_sha256=of_weights(weights_of(model)),
    )
    if dist.is_initialized():
        dist.barrier()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one rank."""
    options = parser(DEFAULT_CONFIGURATION).parse_args(arguments)
    config = configuration.load(options.configuration, options.set)
    options.checkpoints.mkdir(parents=True, exist_ok=True)
    train(config, options.checkpoints, options.timeout_s)


if __name__ == "__main__":
    records.run(main)
