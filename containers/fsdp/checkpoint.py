"""Sharded checkpoints, written while the training goes on, and read by any number of ranks.

Every rank writes its own shards (torch.distributed.checkpoint). When all have, rank 0 declares the
checkpoint whole and removes older ones; until then the one before is the newest.
"""

import shutil
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from model import Decoder
from ranks import FAILED, Ranks
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from training import checkpoints
from training.records import WRONG_INPUT, Stop


class Checkpoints:
    """The checkpoints of a training in a folder that all nodes share."""

    def __init__(
        self, folder: Path, keep: int, ranks: Ranks, model: Decoder, optimizer: torch.optim.AdamW
    ) -> None:
        """Look at the folder, and remove what a killed training left half-made.

        Raises:
            Stop: It cannot be written, or each node has one of its own.
        """
        self.folder, self.keep, self.ranks = folder, keep, ranks
        self.model, self.optimizer = model, optimizer
        self.under_way: Future[Any] | None = None
        self.about: dict[str, Any] = {}
        self._demand_shared()
        if ranks.rank == 0:
            checkpoints.discard_partial(folder)
        dist.barrier(group=ranks.control_group)

    def begin(self, about: dict[str, Any]) -> None:
        """Copy the state, and begin to write it; `about` says the step and what a resume needs."""
        model, optimizer = get_state_dict(self.model, self.optimizer)
        self.about = about
        answer = dcp.async_save(
            {"model": model, "optimizer": optimizer},
            checkpoint_id=self._folder_of(about["step"]),
            process_group=self.ranks.checkpoint_group,
        )
        self.under_way = answer if isinstance(answer, Future) else answer.upload_completion

    @property
    def failed(self) -> bool:
        """Whether this rank knows that the checkpoint under way cannot be written."""
        running = self.under_way
        return running is not None and running.done() and running.exception() is not None

    def end(self, *, wait: bool) -> int | None:
        """Declare the checkpoint under way whole, if it is written; return its step then.

        Args:
            wait: For it to be written. All ranks must; else each looks for itself.

        Raises:
            Stop: It could not be written, on any rank. The one before is still there.
        """
        if self.under_way is None or not (wait or self.under_way.done()):
            return None
        if self.failed and not wait:
            return None  # all ranks end together, after the next step
        step, running = self.about["step"], self.under_way
        error = running.exception(timeout=self.ranks.patience.total_seconds() if wait else None)
        if error is not None:
            told = self._told(step, error)
            if self.ranks.rank == 0:  # it has heard of all ranks that they write no more
                checkpoints.discard_partial(self.folder)
            raise Stop(FAILED, told) from error
        self.under_way = None
        if self.ranks.rank == 0:
            try:
                checkpoints.complete(self._folder_of(step), self.about, self.keep)
            except OSError as full:
                raise Stop(FAILED, self._told(step, full)) from full
        return step

    def newest(self) -> dict[str, Any] | None:
        """Return what the newest whole checkpoint says of itself; None if there is none."""
        found = checkpoints.newest(self.folder) if self.ranks.rank == 0 else None
        box = [found and found[1]]
        dist.broadcast_object_list(box, src=0, group=self.ranks.control_group)
        return box[0]

    def load(self, about: dict[str, Any]) -> None:
        """Read model and optimizer.

        Raises:
            Stop: A file is missing or damaged; says what to do.
        """
        folder = self._folder_of(about["step"])
        model, optimizer = get_state_dict(self.model, self.optimizer)
        state = {"model": model, "optimizer": optimizer}
        try:
            dcp.load(state, checkpoint_id=folder, process_group=self.ranks.checkpoint_group)
        except (dcp.api.CheckpointException, OSError, RuntimeError) as error:
            message = f"{folder} is damaged: {_reason(error)}"
            raise Stop(WRONG_INPUT, f"{message}; remove it to go on from the one before") from error
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )

    def _folder_of(self, step: int) -> Path:
        return checkpoints.folder_of(self.folder, step)

    def _told(self, step: int, error: BaseException) -> str:
        newest = checkpoints.newest(self.folder)
        kept = f"that of step {newest[1]['step']} is whole" if newest else "there is none before it"
        # torch tells of a full disk only as a position in a file that it did not expect.
        free = f"{shutil.disk_usage(self.folder).free / 1e6:.1f} MB are free there"
        return f"the checkpoint of step {step} cannot be written: {_reason(error)}; {free}; {kept}"

    def _demand_shared(self) -> None:
        names = [f".{uuid.uuid4().hex}" if self.ranks.rank == 0 else ""]
        dist.broadcast_object_list(names, src=0, group=self.ranks.control_group)
        token, trouble = self.folder / names[0], None
        if self.ranks.rank == 0:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                token.touch()
            except OSError as error:
                trouble = f"{self.folder} cannot be written: {error.strerror}"
        dist.barrier(group=self.ranks.control_group)
        if trouble is None and not token.exists():
            trouble = f"{self.folder} is not shared: rank {self.ranks.rank} does not see rank 0's"
        troubles: list[Any] = [None] * self.ranks.ranks
        dist.all_gather_object(troubles, trouble, group=self.ranks.control_group)
        token.unlink(missing_ok=True)
        if said := [trouble for trouble in troubles if trouble is not None]:
            raise Stop(WRONG_INPUT, said[0])


def _reason(error: BaseException) -> str:
    where, cause = "", error
    if failures := getattr(error, "failures", None):
        rank, (cause, _) = next(iter(failures.items()))
        where = f"rank {rank}: "
    return where + f"{type(cause).__name__}: {cause}".splitlines()[0]
