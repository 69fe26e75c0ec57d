"""Checkpoints in Megatron's own format: every rank writes its shards, any split reads them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
from training import checkpoints
from training.records import WRONG_INPUT, Stop

FAILED = 1
# In terms of the model's own tensors, so that a resume may have another split.
METADATA = {
    "distrib_optim_sharding_type": "fully_reshardable",
    "distrib_optim_fully_reshardable_mem_efficient": False,
    "chained_optim_avoid_prefix": True,
}


class Checkpoints:
    """The checkpoints of a training in a folder that all nodes share."""

    def __init__(
        self,
        folder: Path,
        keep: int,
        model: DistributedDataParallel,
        optimizer: MegatronOptimizer,
        schedule: OptimizerParamScheduler,
    ) -> None:
        """Remove what a killed training left half-made."""
        self.folder, self.keep = folder, keep
        self.inner, self.optimizer, self.schedule = model.module, optimizer, schedule
        if dist.get_rank() == 0:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise Stop(WRONG_INPUT, f"{folder} cannot be written: {error.strerror}") from error
            checkpoints.discard_partial(folder)
        dist.barrier()

    def save(self, about: dict[str, Any]) -> None:
        """Write a checkpoint; `about` says the step and the configuration.

        Raises:
            Stop: It cannot be written. The one before is still there.
        """
        folder = checkpoints.folder_of(self.folder, about["step"])
        try:
            if dist.get_rank() == 0:
                folder.mkdir()
            dist.barrier()
            dist_checkpointing.save(self._state(is_loading=False), str(folder))
            dist.barrier()
            if dist.get_rank() == 0:
                checkpoints.complete(folder, about, self.keep)
        except (OSError, RuntimeError, dist_checkpointing.core.CheckpointingException) as error:
            newest = checkpoints.newest(self.folder)
            kept = f"{newest[0].name} before it is whole" if newest else "there is none before it"
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            raise Stop(FAILED, f"{folder.name} cannot be written: {told}; {kept}") from error

    def newest(self) -> dict[str, Any] | None:
        """Return what the newest whole checkpoint says of itself; None if there is none."""
        found = checkpoints.newest(self.folder) if dist.get_rank() == 0 else None
        box = [found and found[1]]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def load(self, about: dict[str, Any]) -> None:
        """Read model, optimizer and schedule.

        Raises:
            Stop: A file is missing or damaged; says what to do.
        """
        folder = checkpoints.folder_of(self.folder, about["step"])
        try:
            state = dist_checkpointing.load(self._state(is_loading=True), str(folder))
        except Exception as error:
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            raise Stop(
                WRONG_INPUT, f"{folder} is damaged: {told}; remove it to go on from the one before"
            ) from error
        self.inner.load_state_dict(state["model"])
        with _steps_of_torch(self.optimizer):
            self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])

    def _state(self, *, is_loading: bool) -> dict[str, Any]:
        if is_loading:
            _make_room(self.optimizer)
        model = self.inner.sharded_state_dict(metadata=METADATA)
        optimizer = self.optimizer.sharded_state_dict(model, is_loading, metadata=METADATA)
        return {"model": model, "optimizer": optimizer, "schedule": self.schedule.state_dict()}


def _parts(optimizer: MegatronOptimizer) -> list[Any]:
    return list(getattr(optimizer, "chained_optimizers", [optimizer]))


def _make_room(optimizer: MegatronOptimizer) -> None:
    """Give torch's Adam its state before there was a step.

    Megatron does so for apex's and Transformer Engine's; of torch's it asks the number of steps
    (optimizer/distrib_optimizer.py:641) before it has loaded one.
    """
    for part in _parts(optimizer):
        for weight in (
            weight for group in part.optimizer.param_groups for weight in group["params"]
        ):
            if not part.optimizer.state[weight]:
                part.optimizer.state[weight] = {
                    "step": torch.zeros((), dtype=torch.float32),
                    "exp_avg": torch.zeros_like(weight),
                    "exp_avg_sq": torch.zeros_like(weight),
                }


@contextmanager
def _steps_of_torch(optimizer: MegatronOptimizer) -> Iterator[None]:
    """Let Megatron load the state of torch's Adam, with its number of steps.

    megatron-core 0.16.1 leaves the number out of what it copies, and then demands it
    (optimizer/distrib_optimizer.py:940); and it gives all weights one tensor for it (line 819),
    which a step would count up once for each.
    """
    copies = "_set_main_param_and_optimizer_states"
    parts = [part for part in _parts(optimizer) if hasattr(part, copies)]
    for part in parts:
        setattr(part, copies, partial(_copy_all, part, getattr(part, copies)))
    try:
        yield
    finally:
        for part in parts:
            delattr(part, copies)
    for part in _parts(optimizer):
        for state in part.optimizer.state.values():
            state["step"] = state["step"].clone()


def _copy_all(part: Any, copy: Any, weight: torch.Tensor, tensors: dict[str, Any]) -> None:
    group, order = part.model_param_group_index_map[weight]
    main = part.optimizer.param_groups[group]["params"][order]
    copy(weight, {"step": part.optimizer.state[main]["step"], **tensors})
