"""Checkpoints of sharded arrays: each process writes what it holds, any mesh reads it again."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from training import checkpoints
from training.records import WRONG_INPUT, Stop

State = Any  # a tree of arrays


def save(state: State, checkpoints_folder: Path, about: dict[str, Any], keep: int) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        state: What to write; of copies the first is written.
        checkpoints_folder: One that all processes see.
        about: `step`, `configuration`, and what else a resume needs.
        keep: How many of the newest stay.

    Raises:
        Stop: A process cannot write; on every process, and the checkpoint before is whole.
    """
    folder = checkpoints.folder_of(checkpoints_folder, about["step"])
    told = ""
    try:
        folder.mkdir(exist_ok=True)
        held = _held(state)
        name = folder / f"process-{jax.process_index():05d}.npz"
        checkpoints.write_file(name, lambda file: np.savez(file, **held))
    except OSError as error:
        told = f"process {jax.process_index()}: {error}"
    _agree(told, f"the checkpoint of step {about['step']} cannot be written", 1)
    told = ""
    if jax.process_index() == 0:
        try:
            checkpoints.complete(folder, about, keep)
        except OSError as error:
            told = f"process 0: {error}"
    _agree(told, f"the checkpoint of step {about['step']} cannot be written", 1)


def newest(checkpoints_folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest whole checkpoint that process 0 sees, as `training.checkpoints.newest`.

    Raises:
        Stop: Another process does not see it: each node has a folder of its own.
    """
    if jax.process_index() == 0:
        checkpoints.discard_partial(checkpoints_folder)
    found = checkpoints.newest(checkpoints_folder)
    step = found[1]["step"] if found else -1
    first = int(multihost_utils.broadcast_one_to_all(np.int32(step)))
    told = "" if step == first else f"process {jax.process_index()} sees step {step}, not {first}"
    _agree(told, f"all nodes must see the same folder {checkpoints_folder}", WRONG_INPUT)
    return found


def load(like: State, folder: Path) -> State:
    """Return the state of a checkpoint, laid out as another one is.

    Args:
        like: Tree of shapes (`jax.ShapeDtypeStruct` with a sharding, or arrays).
        folder: The checkpoint's.

    Raises:
        Stop: A file is damaged or missing; on every process.
    """
    told, state = "", None
    try:
        files = [np.load(path) for path in sorted(folder.glob("process-*.npz"))]
        leaves, tree = jax.tree_util.tree_flatten_with_path(like)
        loaded = [_assembled(files, jax.tree_util.keystr(path), leaf) for path, leaf in leaves]
        state = jax.tree_util.tree_unflatten(tree, loaded)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        told = f"process {jax.process_index()}: {error}"
    _agree(told, f"{folder} is damaged", WRONG_INPUT)
    return state


def _held(state: State) -> dict[str, np.ndarray]:
    """What this process writes, by name and place: `['weights']['up']|0,0,32`."""
    held = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        for shard in leaf.addressable_shards:
            if shard.replica_id == 0:
                begin = ",".join(str(part.start or 0) for part in shard.index)
                held[f"{jax.tree_util.keystr(path)}|{begin}"] = np.asarray(shard.data)
    return held


def _assembled(files: list[Any], name: str, like: Any) -> jax.Array:
    """One array from the parts that all processes wrote."""
    whole = np.empty(like.shape, like.dtype)
    found = 0
    for file in files:
        for key in file.files:
            of, _, begin = key.partition("|")
            if of == name:
                part = file[key]
                starts = [int(number) for number in begin.split(",") if number]
                ends = zip(starts, part.shape, strict=True)
                whole[tuple(slice(start, start + size) for start, size in ends)] = part
                found += part.size
    if found != whole.size:
        raise ValueError(f"{found} of {whole.size} values of {name} are there")
    lookup: Callable[[Any], np.ndarray] = whole.__getitem__
    return jax.make_array_from_callback(like.shape, like.sharding, lookup)


def _agree(told: str, what: str, status: int) -> None:
    """Stop all processes if one of them has something to tell."""
    width = 300
    mine = np.frombuffer(told.encode()[:width].ljust(width), dtype=np.uint8)
    said = np.asarray(multihost_utils.process_allgather(mine)).reshape(-1, width)
    all_told = [line for row in said if (line := bytes(row).decode(errors="replace").strip())]
    if all_told:
        raise Stop(status, f"{what}: {all_told[0]}")
