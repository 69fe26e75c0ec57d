"""Checkpoints: one file for each part of the model, there whole or not at all.

Data and context parallel processes have the same weights, so that one of each kind writes, all
read, and their numbers may change. The split into tensor parts and stages may not.
"""

import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from configuration import MAY_CHANGE, Configuration
from mesh import Mesh
from training import checkpoints
from training.records import WRONG_INPUT, Stop


class Checkpoints:
    """The checkpoints of a training, in a folder that all nodes share."""

    def __init__(self, folder: Path, config: Configuration, mesh: Mesh) -> None:
        """Remove what a killed training left half-made.

        Raises:
            Stop: The folder cannot be written.
        """
        self.folder, self.config, self.mesh = folder, config, mesh
        self.name = f"pipeline-{mesh.pipeline.rank}-tensor-{mesh.tensor.rank}.pt"
        trouble = None
        if mesh.world.rank == 0:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                checkpoints.discard_partial(folder)
            except OSError as error:
                trouble = f"{folder} cannot be written: {error}"
        self._agree(trouble, WRONG_INPUT)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint, and remove older ones.

        Raises:
            Stop: A process cannot write; the checkpoint before is whole. All processes stop.
        """
        target, trouble = checkpoints.folder_of(self.folder, step), None
        try:
            if self.mesh.replicas.rank == 0:
                target.mkdir(parents=True, exist_ok=True)
                path = target / self.name
                checkpoints.write_file(path, lambda file: torch.save(state, file))
        except (OSError, RuntimeError) as error:  # torch tells of a full disk by a RuntimeError
            trouble = self._told(step, error)
        self._agree(trouble, 1)
        if self.mesh.world.rank == 0:
            about = {"step": step, "configuration": asdict(self.config)}
            try:
                checkpoints.complete(target, about, self.config.keep_checkpoints)
            except OSError as error:
                trouble = self._told(step, error)
        self._agree(trouble, 1)

    def load(self) -> dict[str, Any] | None:
        """Return this process's part of the newest checkpoint; None if there is none.

        Raises:
            Stop: It is of another model or split, or damaged.
        """
        found = checkpoints.newest(self.folder) if self.mesh.world.rank == 0 else None
        newest = self.mesh.world.say(found)[0]  # all agree, whatever each one's disk shows
        if newest is None:
            return None
        folder, about = newest
        may_change = tuple(MAY_CHANGE.split())
        checkpoints.demand_same(about["configuration"], asdict(self.config), folder, may_change)
        state, trouble = {}, None
        try:
            state = torch.load(folder / self.name, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            trouble = f"{folder / self.name} cannot be read: {reason}; remove the folder to go on"
        self._agree(trouble, WRONG_INPUT)
        return state

    def _told(self, step: int, error: Exception) -> str:
        newest = checkpoints.newest(self.folder)
        kept = f"that of step {newest[1]['step']} is whole" if newest else "there is none before it"
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        rank = f"rank {self.mesh.world.rank}"
        return f"the checkpoint of step {step} cannot be written: {rank}: {reason}; {kept}"

    def _agree(self, trouble: str | None, status: int) -> None:
        troubles = [one for one in self.mesh.world.say(trouble) if one is not None]
        if troubles:
            raise Stop(status, str(troubles[0]))
