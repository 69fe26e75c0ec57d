"""A training by NeMo 1. Not verified: nobody has run it on GPUs here.

Written against nemo_toolkit 1.23. Imported by train.py once it has seen that NeMo 1 is there.
"""

import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import indexed
from configuration import Configuration, settings
from nemo.collections.nlp.models.language_modeling.megatron_gpt_model import MegatronGPTModel
from nemo.collections.nlp.parts.megatron_trainer_builder import MegatronTrainerBuilder
from nemo.utils.exp_manager import exp_manager
from omegaconf import OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer
from training import checkpoints
from training.corpus import corpus
from training.records import DIVERGED, Log, Stop

DOCUMENT = 16_384  # bytes
MAY_DIFFER = ("log_every", "checkpoint_every", "keep_checkpoints")


def train(config: Configuration, folder: Path, nodes: int, devices: int) -> None:
    """Train as one rank.

    Raises:
        Stop: It cannot go on; with the exit status and the reason.
    """
    rank = int(os.environ["RANK"])
    there = any((folder / "checkpoints").glob("*"))  # NeMo's name for it below its log_dir
    checkpoints.demand_same_training(
        folder, asdict(config), rank, there=there, may_differ=MAY_DIFFER
    )
    # Each node writes its own copy, since the ranks have not met yet.
    data = Path(f"/tmp/nemo-launcher-{os.environ.get('MASTER_PORT', '0')}") / "text"  # noqa: S108
    if int(os.environ["LOCAL_RANK"]) == 0:
        write_data(config, data)
    _await(data.with_name(f"{data.name}-held-out.idx"))
    told = OmegaConf.create(settings(config, nodes=nodes, devices=devices, data=data))
    trainer = MegatronTrainerBuilder(told).create_trainer(callbacks=[Records(config, rank)])
    exp_manager(trainer, OmegaConf.create(_experiment(config, folder)))
    trainer.fit(MegatronGPTModel(told.model, trainer))


def write_data(config: Configuration, prefix: Path) -> None:
    """Write the text to train on, and the part held out, as indexed datasets."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    names = (prefix.name, f"{prefix.name}-held-out")
    text = corpus(Path(config.data) if config.data else None)
    for name, part in zip(names, indexed.split(text), strict=True):
        cuts = range(0, len(part), DOCUMENT)
        indexed.write(prefix.with_name(name), [part[cut : cut + DOCUMENT] for cut in cuts])


class Records(Callback):
    """Says what the other test cases say."""

    def __init__(self, config: Configuration, rank: int) -> None:
        self.config, self.log = config, Log(rank)
        self.began = self.before = time.perf_counter()
        self.seconds = 0.0

    def on_train_start(self, trainer: Trainer, _module: LightningModule) -> None:
        """Print `start`, and `resume` where NeMo has read a checkpoint."""
        facts = {"world_size": trainer.world_size, "backend": "nccl"}
        weights = self.config.architecture.parameters(self.config.rows)
        facts |= {"parameters": weights, "configuration": asdict(self.config)}
        self.log("start", 0, **facts)
        if trainer.global_step:
            self.log("resume", trainer.global_step)
        self.began = self.before = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Print `step`."""
        loss = float(trainer.callback_metrics["reduced_train_loss"])
        if not math.isfinite(loss):
            raise Stop(DIVERGED, f"the loss is {loss} at step {trainer.global_step}")
        now = time.perf_counter()
        tokens = self.config.global_batch_size * self.config.architecture.length
        speed, self.before = {"tokens_per_s": round(tokens / (now - self.before), 1)}, now
        if trainer.global_step % self.config.log_every == 0:
            self.log("step", trainer.global_step, loss=loss, **speed)

    def on_train_end(self, trainer: Trainer, _module: LightningModule) -> None:
        """Print `final`."""
        held_out = float(trainer.callback_metrics.get("val_loss", math.nan))
        seconds = round(time.perf_counter() - self.began, 3)
        batch = self.config.global_batch_size
        self.log("final", trainer.global_step, loss=held_out, held_out=batch, seconds=seconds)


def _experiment(config: Configuration, folder: Path) -> dict[str, Any]:
    copy = config.tensor_parallel * config.pipeline_parallel
    return {
        "explicit_log_dir": str(folder),
        "create_tensorboard_logger": False,
        "resume_if_exists": True,
        "resume_ignore_no_checkpoint": True,
        "create_checkpoint_callback": True,
        "checkpoint_callback_params": {
            "monitor": "step",
            "mode": "max",
            "save_top_k": config.keep_checkpoints,
            "every_n_train_steps": config.checkpoint_every,
            "always_save_nemo": False,
            "save_nemo_on_train_end": False,
            "model_parallel_size": copy,
        },
    }


def _await(path: Path) -> None:
    while not path.exists():
        time.sleep(0.2)
