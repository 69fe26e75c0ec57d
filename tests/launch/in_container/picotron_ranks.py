"""Trains picotron in every layout, many in one start of the processes, for check_picotron*.py.

Standard library and torch only. Processes are forked, so that torch is imported once.
"""

import json
import multiprocessing
import os
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
import train
from configuration import Configuration
from mesh import Mesh

STEPS = 8
PATIENCE_S = 20
CONFIGURATION = Configuration(
    layers=4,
    hidden=32,
    heads=8,
    kv_heads=4,
    ffn=48,
    vocabulary=256,
    rope_theta=10000.0,
    norm_eps=1e-5,
    tensor=1,
    pipeline=1,
    context=1,
    sequence_parallel=False,
    context_method="ring",
    schedule="1f1b",
    seed=7,
    data="english",
    sequence=32,
    steps=STEPS,
    warmup_steps=2,
    global_batch_size=4,
    micro_batch_size=1,
    learning_rate=0.01,
    weight_decay=0.1,
    gradient_clip=0.5,
    precision="float64",
    held_out_windows=3,
    log_every=1,
    checkpoint_every=100,
    keep_checkpoints=1,
)
"""Exact enough to compare layouts; the norm of the gradient is clipped in every step."""

Breakage = Callable[[], AbstractContextManager[Any]]
Layouts = dict[str, tuple[dict[str, Any], Breakage]]
"""By name: changes of the configuration (and `stop_after` some steps), and what is broken."""


def run_layouts(ranks: int, layouts: Layouts) -> dict[str, dict[str, Any]]:
    """Train a few steps in each layout.

    Returns:
        By layout: `losses`, `norms`, `held_out` (loss), `parameters_sha256`, and `sent`, how often
        each kind of message was, over all processes; or `error`.
    """
    with tempfile.TemporaryDirectory() as folder:
        fork = multiprocessing.get_context("fork")
        arguments = (ranks, Path(folder), layouts)
        children = [fork.Process(target=_be_rank, args=(r, *arguments)) for r in range(ranks)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        said = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(ranks)]
    found: dict[str, dict[str, Any]] = said[0]
    for name in found:
        errors = [one[name]["error"] for one in said if "error" in one[name]]
        sent = sum((Counter(one[name].get("sent", {})) for one in said), Counter())
        found[name] |= {"sent": sent} | ({"error": errors[0]} if errors else {})
    return found


def _be_rank(rank: int, ranks: int, folder: Path, layouts: Layouts) -> None:
    torch.set_num_threads(1)
    found: dict[str, dict[str, Any]] = {}
    for number, (name, (changes, breakage)) in enumerate(layouts.items()):
        meeting, patience = f"file://{folder}/meeting-{number}", timedelta(seconds=PATIENCE_S)
        dist.init_process_group(
            "gloo", init_method=meeting, rank=rank, world_size=ranks, timeout=patience
        )
        try:
            with breakage(), Counted() as sent:
                values = {**vars(CONFIGURATION), "stop_after": STEPS, **changes}
                steps, config = values.pop("stop_after"), Configuration(**values)
                mesh = Mesh(config.layout(ranks), torch.device("cpu"), patience)
                found[name] = _train(config, folder / str(number), mesh, steps)
            found[name]["sent"] = sent
        except Exception:  # noqa: BLE001  # reported by the layout's test
            found[name] = {"error": traceback.format_exc()}
        dist.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(found))
    os._exit(0)


def _train(config: Configuration, folder: Path, mesh: Mesh, steps: int) -> dict[str, Any]:
    trainer = train.Trainer(config, folder, mesh)
    pairs = [trainer.train_step() for _ in range(steps)]
    losses, norms = zip(*pairs, strict=True)
    told = {"losses": losses, "norms": norms, "held_out": trainer.evaluate()}
    return {**told, "parameters_sha256": trainer.digest()}


class Counted:
    """Counts the messages that are sent, by kind."""

    kinds = ("all_reduce", "all_gather_single", "reduce_scatter_single", "all_to_all_single")
    kinds += ("broadcast", "batch_isend_irecv")

    def __enter__(self) -> Counter[str]:
        sent: Counter[str] = Counter()
        self.patches = []
        for kind in self.kinds:
            real = getattr(dist, kind)

            def counting(*args: Any, _kind: str = kind, _real: Any = real, **kwargs: Any) -> Any:
                sent[_kind] += 1
                return _real(*args, **kwargs)

            self.patches.append(mock.patch.object(dist, kind, counting))
        for patch in self.patches:
            patch.start()
        return sent

    def __exit__(self, *_: object) -> None:
        for patch in self.patches:
            patch.stop()


unbroken: Breakage = nullcontext
