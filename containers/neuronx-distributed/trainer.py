"""A training on Neuron cores. Not verified: nobody has run it on Trainium here.

Written against the documentation of neuronx-distributed. Imported by train.py once it has seen that
Neuron's packages and devices are there.
"""

import math
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import neuronx_distributed as nxd
import torch
import torch_xla.core.xla_model as xm
import torch_xla.distributed.xla_backend  # noqa: F401  # makes the backend known
from configuration import MAY_CHANGE, Configuration, settings
from model import CoreAttention, Layer, Llama, data_part
from neuronx_distributed.modules.rms_norm import RMSNorm
from neuronx_distributed.parallel_layers import parallel_state
from training import checkpoints
from training.corpus import corpus
from training.records import DIVERGED, WRONG_INPUT, Log, Stop
from training.text import Windows, bytes_of

COMPILE_S = 1800.0
"""Ranks compile their graphs before the first step, some longer than others."""


def train(config: Configuration, folder: Path, timeout_s: float) -> None:
    """Train as one rank.

    Raises:
        Stop: It cannot go on; with the exit status and the reason.
    """
    patience = timedelta(seconds=max(timeout_s, COMPILE_S))
    torch.distributed.init_process_group("xla", timeout=patience)
    folder.mkdir(parents=True, exist_ok=True)
    Trainer(config, folder).run()


class Trainer:
    """The state of one training on one Neuron core."""

    def __init__(self, config: Configuration, folder: Path) -> None:
        self.config, self.folder, self.step = config, folder, 0
        self.rank, self.ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.log = Log(self.rank)
        self.batch = config.global_batch_size(self.ranks)
        told = settings(config)
        classes = {"none": None, "selective": CoreAttention, "full": "full"}
        told["activation_checkpoint_config"] = classes[config.activation_checkpoints]
        if "pipeline_config" in told:
            pipeline = {"transformer_layer_cls": Layer, "leaf_module_cls": [RMSNorm.__name__]}
            told["pipeline_config"] |= pipeline
        nxd_config = nxd.neuronx_distributed_config(**told)
        torch.manual_seed(config.seed)
        self.model = nxd.initialize_parallel_model(nxd_config, lambda: Llama(config))
        self.optimizer = nxd.initialize_parallel_optimizer(
            nxd_config,
            torch.optim.AdamW,
            self.model.parameters(),
            lr=config.learning_rate,
            betas=tuple(config.betas),
            weight_decay=config.weight_decay,
        )
        self.part = data_part()
        tokens = bytes_of(corpus(Path(config.data) if config.data else None))
        self.windows = Windows(tokens, config.length, config.seed, self.batch)

    def run(self) -> None:
        """Train to the last step, from the newest checkpoint if there is one, and evaluate."""
        facts = {"world_size": self.ranks, "backend": "neuron", "torch": torch.__version__}
        facts |= {"parameters": self.config.architecture.parameters()}
        self.log("start", 0, **facts, configuration=asdict(self.config))
        self._resume()
        began, tokens = time.perf_counter(), self.batch * self.config.length
        first = self.step
        while self.step < self.config.steps:
            started = time.perf_counter()
            loss = self._train_step()
            speed = {"tokens_per_s": round(tokens / (time.perf_counter() - started), 1)}
            last = self.step == self.config.steps
            if self.step % self.config.log_every == 0 or last:
                self.log("step", self.step, loss=loss, **speed)
            if self.step % self.config.checkpoint_every == 0 or last:
                self._save()
        seconds = time.perf_counter() - began
        speed = {"seconds": round(seconds, 3)}
        speed["tokens_per_s"] = round((self.step - first) * tokens / seconds, 1)
        self.log("final", self.step, **speed, **self._evaluate())

    def _train_step(self) -> float:
        """Do one optimizer step; return the global batch's mean loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(self.step)
        inputs, targets = self.windows.batch(self.step, *self.part)
        loss = self._mean(self._forward_backward(inputs, targets))
        self.optimizer.step()
        self.optimizer.zero_grad()
        xm.mark_step()
        self.step += 1
        if not math.isfinite(value := loss.item()):
            raise Stop(DIVERGED, f"the loss is {value} at step {self.step}")
        return float(value)

    def _forward_backward(self, inputs: Any, targets: Any) -> Any:
        """Gradients of this replica's share; return its mean loss."""
        if self.config.pipeline_parallel > 1:  # the pipeline cuts the batch, and goes back as well
            loss = self.model.run_train(inputs=inputs, targets=targets)
            return self._from_last_stage(loss)
        total = 0.0
        turns = self.config.accumulations
        for one in zip(inputs.chunk(turns), targets.chunk(turns), strict=True):
            device = xm.xla_device()
            loss = self.model(*(part.to(device) for part in one)) / turns
            loss.backward()
            total = total + loss.detach()
            xm.mark_step()
        return total

    def _from_last_stage(self, loss: Any) -> Any:
        """The loss is known to the last stage alone; the others add nothing to the sum."""
        stage = parallel_state.get_pipeline_model_parallel_rank()
        last = stage == self.config.pipeline_parallel - 1
        value = loss.detach() if last else torch.zeros(1)
        value = value.to(xm.xla_device())
        groups = parallel_state.get_pipeline_model_parallel_group(as_list=True)
        return xm.all_reduce("sum", value, groups=groups)

    def _mean(self, loss: Any) -> Any:
        groups = parallel_state.get_data_parallel_group(as_list=True)
        return xm.all_reduce("sum", loss, scale=1 / self.part[1], groups=groups)

    def _save(self) -> None:
        nxd.save_checkpoint(
            str(self.folder),
            tag=f"step-{self.step:08d}",
            model=self.model,
            optimizer=self.optimizer,
            user_content={"step": self.step, "configuration": asdict(self.config)},
            use_xser=True,
            num_kept_ckpts=self.config.keep_checkpoints,
        )
        self.log("checkpoint", self.step)

    def _resume(self) -> None:
        if not nxd.has_checkpoint(str(self.folder)):
            return
        # First what it says of itself: weights of another model would not fit.
        about = nxd.load_checkpoint(str(self.folder))
        checkpoints.demand_same(
            about["configuration"], asdict(self.config), self.folder, MAY_CHANGE
        )
        nxd.load_checkpoint(str(self.folder), model=self.model, optimizer=self.optimizer)
        self.step = about["step"]
        self.log("resume", self.step)

    def _evaluate(self) -> dict[str, Any]:
        """Return the mean loss on the held-out text: as many windows as are equal shares."""
        part, parts = self.part
        size = self.config.micro_batch_size
        if self.config.pipeline_parallel > 1:
            size *= self.config.accumulations
        most = len(self.windows.test) // (parts * size) * parts * size
        if not most:
            raise Stop(WRONG_INPUT, f"fewer than {parts * size} windows are held out of the text")
        total, batches = 0.0, 0
        for number, (inputs, targets) in enumerate(self.windows.held_out(size, most)):
            if number % parts != part:
                continue
            with torch.no_grad():
                if self.config.pipeline_parallel > 1:
                    loss = self._from_last_stage(
                        self.model.run_eval(inputs=inputs, targets=targets)
                    )
                else:
                    device = xm.xla_device()
                    loss = self.model(inputs.to(device), targets.to(device))
            total, batches = total + loss, batches + 1
            xm.mark_step()
        return {"loss": float(self._mean(total / batches).item()), "held_out": most}
