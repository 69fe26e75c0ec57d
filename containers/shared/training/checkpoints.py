"""Checkpoints as folders `step-00000040` that are there whole or not at all."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.records import WRONG_INPUT, Stop

MARKER = "complete.json"
"""Written last: a folder without it is no checkpoint."""

NOTE = "configuration.json"
"""What the checkpoints of a framework beside it are of; see `demand_same_training`."""


def folder_of(checkpoints: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return checkpoints / f"step-{step:08d}"


def write_file(path: Path, write: Callable[[Any], None]) -> None:
    """Write a file so that it is on the disk, whole, or not there under its name.

    Args:
        path: Its name.
        write: Given the open binary file.

    Raises:
        OSError: The disk is full or cannot be written; nothing is left.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a new name is so only once its folder is."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def complete(folder: Path, about: dict[str, Any], keep: int) -> None:
    """Declare a checkpoint whole, when all ranks have written theirs, and remove older ones.

    Args:
        folder: As `folder_of`.
        about: What `newest` gives back: `step`, `configuration`, and what else a resume needs.
        keep: How many of the newest whole ones stay.
    """
    write_file(folder / MARKER, lambda file: file.write(json.dumps(about).encode()))
    sync_folder(folder.parent)
    for old in _whole(folder.parent)[:-keep]:
        (old / MARKER).unlink()  # first, so that at no time half a checkpoint looks whole
        shutil.rmtree(old)


def discard_partial(checkpoints: Path) -> None:
    """Remove what a killed process left half-made."""
    for folder in checkpoints.glob("step-*"):
        if folder.is_dir() and not (folder / MARKER).exists():
            shutil.rmtree(folder)


def newest(checkpoints: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest whole checkpoint and what `complete` was told; None if there is none."""
    for folder in reversed(_whole(checkpoints)):
        try:
            return folder, json.loads((folder / MARKER).read_text())
        except (OSError, ValueError):
            continue  # the marker itself was damaged: the one before is whole
    return None


def demand_same_training(
    folder: Path,
    now: dict[str, Any],
    rank: int,
    *,
    there: bool,
    may_differ: tuple[str, ...] = (),
) -> None:
    """Hold a framework's own checkpoints, which do not say what they are of, against a note.

    Args:
        folder: Where they are. Rank 0 writes the note beside the first training's.
        now: The configuration of this run.
        rank: Of this process.
        there: Whether the folder has a checkpoint that a resume would take.
        may_differ: As `demand_same`.

    Raises:
        Stop: They are of another configuration, or there is no telling of which.
    """
    note = folder / NOTE
    try:
        if there:
            if not note.exists():
                raise Stop(WRONG_INPUT, f"{folder} has a checkpoint, but no {NOTE}")
            demand_same(json.loads(note.read_text()), now, folder, may_differ)
        elif rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
            write_file(note, lambda file: file.write(json.dumps(now).encode()))
    except (OSError, ValueError) as error:
        raise Stop(WRONG_INPUT, f"{note} cannot be used: {error}") from error


def demand_same(
    then: dict[str, Any], now: dict[str, Any], where: Path, may_differ: tuple[str, ...] = ()
) -> None:
    """Refuse a checkpoint of another model.

    Args:
        then: The configuration that it was made with; tables in it count as their own keys.
        now: That of this run.
        where: The checkpoint, for the message.
        may_differ: Keys that a resume may change.

    Raises:
        Stop: They differ; says in what.
    """
    then, now = _flat(then), _flat(now)
    keys = sorted((then.keys() | now.keys()) - set(may_differ))
    changed = {key: (then.get(key), now.get(key)) for key in keys if then.get(key) != now.get(key)}
    if changed:
        told = "; ".join(f"{key} was {old!r}, is {new!r}" for key, (old, new) in changed.items())
        raise Stop(WRONG_INPUT, f"{where} is of another configuration: {told}")


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(_flat(value) if isinstance(value, dict) else {key: value})
    return flat


def _whole(checkpoints: Path) -> list[Path]:
    return sorted(f for f in checkpoints.glob("step-*") if (f / MARKER).is_file())
