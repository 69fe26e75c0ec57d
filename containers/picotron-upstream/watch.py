"""Watches Picotron's train.py by the functions that it calls, and adds what it leaves out."""

import datetime
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from configuration import Job
from picotron import checkpoint, data, utils
from picotron import process_group_manager as groups
from picotron.checkpoint import CheckpointManager
from picotron.data import MicroBatchDataLoader
from picotron.pipeline_parallel.pp_communications import pipeline_communicate
from torch import Tensor
from torch.nn.functional import cross_entropy
from training import checkpoints
from training.records import DIVERGED, Log, Stop
from training.speed import Meter

HELD_OUT = 256
KEEP = 2


class Watch:
    """Everything of one training that is not Picotron's."""

    model: torch.nn.Module
    loader: MicroBatchDataLoader
    meter: Meter
    log: Log

    def __init__(self, job: Job, folder: Path, timeout_s: float, patched: list[str]) -> None:
        self.job, self.folder, self.timeout_s, self.patched = job, folder, timeout_s, patched
        self.step, self.options, self.began = 0, {}, 0.0
        self.mean_loss = utils.average_loss_across_dp_cp_ranks

    def install(self) -> None:
        """Take the place of what train.py is about to import."""
        data.MicroBatchDataLoader = self._load
        checkpoint.init_model_with_materialized_weights = self._after(
            checkpoint.init_model_with_materialized_weights, self._keep_model
        )
        checkpoint.CheckpointManager = lambda: Checkpoints(self)
        utils.get_num_params = self._after(utils.get_num_params, self._say_start)
        utils.average_loss_across_dp_cp_ranks = self._say_step
        start, end = dist.init_process_group, dist.destroy_process_group

        def init_process_group(**options: Any) -> None:
            # train.py has three minutes for every cluster.
            start(**{**options, "timeout": datetime.timedelta(seconds=self.timeout_s)})

        def destroy_process_group() -> None:
            self._say_final()
            end()

        dist.init_process_group = init_process_group
        dist.destroy_process_group = destroy_process_group

    def skip(self, step: int) -> None:
        """Go on after a checkpoint: Picotron would begin the text anew."""
        self.step = step
        for _ in range(step * self.job.training.gradient_accumulation_steps):
            next(self.loader)
        self.log("resume", step)
        self.meter.restart()

    @staticmethod
    def _after(function: Callable[..., Any], told: Callable[[Any], None]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            told(result)
            return result

        return call

    def _load(self, **options: Any) -> MicroBatchDataLoader:
        self.log, self.options = Log(dist.get_rank()), options
        self.loader = MicroBatchDataLoader(**options)
        return self.loader

    def _keep_model(self, model: torch.nn.Module) -> None:
        self.model = model

    def _say_start(self, parameters: int) -> None:
        training, device = self.job.training, self.options["device"]
        tokens = self.loader.global_batch_size * training.seq_length
        facts = {"world_size": dist.get_world_size(), "backend": dist.get_backend()}
        facts |= {"torch": torch.__version__, "patches": self.patched, "parameters": parameters}
        samples = len(self.loader.tokenized_dataset)
        told = {"steps": training.total_train_steps, **asdict(self.job)}
        self.log("start", 0, **facts, samples=samples, configuration=told)
        self.meter = Meter(tokens, 6.0 * parameters, dist.get_world_size(), device)
        self.began = time.perf_counter()

    def _say_step(self, loss: float | None, device: torch.device) -> float:
        mean = self._of_last_stage(self.mean_loss(loss, device), device)
        self.step += 1
        if not math.isfinite(mean):
            raise Stop(DIVERGED, f"the loss is {mean} at step {self.step}")
        self.log("step", self.step, loss=mean, **self.meter.step())
        return mean

    def _say_final(self) -> None:
        seconds = round(time.perf_counter() - self.began, 3)
        speed = self.meter.mean()
        self.log("final", self.step, seconds=seconds, **speed, **self._validate())

    @torch.no_grad()
    def _validate(self) -> dict[str, Any]:
        """Return the mean loss on sequences that were never trained on, and how many they are."""
        device, training = self.options["device"], self.job.training
        held_out = MicroBatchDataLoader(**{**self.options, "split": "validation"})
        turn = training.micro_batch_size * groups.process_group_manager.dp_world_size
        turns = min(len(held_out.tokenized_dataset), HELD_OUT) // turn
        self.model.eval()
        total = sum(self._loss(next(held_out), device) for _ in range(turns)) / turns
        mean = self._of_last_stage(self.mean_loss(total, device), device)
        return {"loss": mean, "held_out": turn * turns}

    def _loss(self, batch: dict[str, Tensor], device: torch.device) -> float:
        """Return the loss of a batch on the last stage of the pipeline, else 0."""
        inputs, targets = batch["input_ids"].to(device), batch["target_ids"].to(device)
        place = groups.process_group_manager
        if place.pp_world_size == 1:
            answer = self.model(input_ids=inputs)
        else:
            layer = next(iter(self.model.decoder_layers.values()))
            shape = (*inputs.shape, layer.input_layernorm.weight.numel())
            kind = next(self.model.parameters()).dtype
            hidden = pipeline_communicate("recv_forward", device, kind, shapes=shape)
            answer = self.model(inputs, batch["position_ids"].to(device), hidden)
            pipeline_communicate("send_forward", device, kind, tensor=answer)
            if not place.pp_is_last_stage:
                return 0.0
        return cross_entropy(answer.flatten(0, 1).float(), targets.flatten()).item()

    def _of_last_stage(self, loss: float, device: torch.device) -> float:
        """Return what the last stage of the pipeline found: rank 0 is in the first."""
        place = groups.process_group_manager
        if place.pp_world_size == 1:
            return loss
        shared = torch.tensor(loss if place.pp_is_last_stage else 0.0, device=device)
        dist.all_reduce(shared, group=place.pp_group)
        return shared.item()


class Checkpoints(CheckpointManager):
    """Picotron's, each in a folder that is whole or not there."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def save_checkpoint(
        self, model: Any, optimizer: Any, trained_steps: int, trained_tokens: int, _: str
    ) -> None:
        """As Picotron's, to our folder."""
        watch = self.watch
        folder = checkpoints.folder_of(watch.folder, trained_steps)
        super().save_checkpoint(model, optimizer, trained_steps, trained_tokens, str(folder))
        dist.barrier()
        if dist.get_rank() == 0:
            about = {"step": trained_steps, "configuration": watch.job.flat()}
            checkpoints.complete(folder, about, KEEP)
        watch.log("checkpoint", trained_steps)
        watch.meter.restart()

    def load_checkpoint(self, model: Any, optimizer: Any, out_dir: str) -> tuple[int, int]:
        """As Picotron's; then the text goes on where it was."""
        step, tokens = super().load_checkpoint(model, optimizer, out_dir)
        self.watch.skip(step)
        return step, tokens
