"""python -m training.start --nproc-per-node=4 train.py --checkpoints /tmp/jax

Trains a small decoder language model in plain JAX, its weights and batches laid out over a mesh
(data x tensor) of all processes' devices: gloo on CPUs, NCCL on GPUs. Rank 0 prints one JSON object
per line. Started again with the same --checkpoints, it goes on after the newest whole one.
Exit status of a process: 0 done, 1 it cannot go on (a lost rank, a full disk), 2 wrong
configuration, data or checkpoint, 3 the loss diverged.
"""

import hashlib
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import checkpoint
import configuration
import jax
import model
import numpy as np
import optax
from configuration import Configuration
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from training import checkpoints, records, speed, text
from training.arguments import parser
from training.corpus import corpus
from training.records import DIVERGED, WRONG_INPUT, Stop

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/tiny.json"
MAY_DIFFER = ("tensor", "recompute", "log_every", "checkpoint_every", "keep_checkpoints")
WARM_UP = 2  # steps that are compiled or first of their kind; not measured
State = dict[str, Any]


def meet(timeout_s: int) -> None:
    """Meet the other processes, of which one drives each device.

    Args:
        timeout_s: Seconds without a sign of life after which a process is given up, and with it
            all others.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    environment = os.environ
    jax.distributed.initialize(
        coordinator_address=f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}",
        num_processes=int(environment["WORLD_SIZE"]),
        process_id=int(environment["RANK"]),
        local_device_ids=int(environment["LOCAL_RANK"]),
        heartbeat_timeout_seconds=timeout_s,
    )


def make_mesh(config: Configuration) -> Mesh:
    """Return all devices as data x tensor; neighbours share a copy of the model."""
    devices = jax.devices()
    if len(devices) % config.tensor:
        told = f"{len(devices)} processes are no multiple of tensor ({config.tensor})"
        raise Stop(WRONG_INPUT, told)
    copies = len(devices) // config.tensor
    if config.global_batch_size % copies:
        told = f"global_batch_size must be a multiple of the {copies} copies of the model"
        raise Stop(WRONG_INPUT, told)
    return Mesh(np.array(devices).reshape(copies, config.tensor), (model.DATA, model.TENSOR))


def make_optimizer(config: Configuration) -> optax.GradientTransformation:
    """Return AdamW after clipping: warm-up, then a cosine down to a tenth."""
    rate = optax.warmup_cosine_decay_schedule(
        0.0 if config.warmup_steps else config.learning_rate,
        config.learning_rate,
        config.warmup_steps,
        config.steps,
        config.learning_rate / 10,
    )
    decays = {name: not name.endswith("norm") for name in model.CUT}
    adamw = optax.adamw(rate, b2=0.95, weight_decay=config.weight_decay, mask=decays)
    return optax.chain(optax.clip_by_global_norm(config.clip), adamw)


class Trainer:
    """One training, as one process sees it."""

    def __init__(self, config: Configuration, folder: Path, data: Path | None) -> None:
        self.config, self.folder, self.step = config, folder, 0
        self.mesh = make_mesh(config)
        self.copies = self.mesh.shape[model.DATA]
        self.copy = jax.process_index() // config.tensor  # the copy of the model that I am part of
        self.log = records.Log(jax.process_index())
        tokens = text.bytes_of(corpus(data))
        self.windows = text.Windows(tokens, config.length, config.seed, config.global_batch_size)
        self.optimizer = make_optimizer(config)
        self.layout = self._layout()
        self.state = jax.jit(self._first, out_shardings=self.layout)()
        self.advance = jax.jit(
            self._advance,
            donate_argnums=0,
            out_shardings=(self.layout, NamedSharding(self.mesh, P())),
        )
        self.validate = jax.jit(self._validate, out_shardings=NamedSharding(self.mesh, P()))

    def _first(self) -> State:
        weights = model.first_weights(self.config)
        return {"weights": weights, "optimizer": self.optimizer.init(weights)}

    def _layout(self) -> State:
        """Where each array of the state lies: moments lie as their weights, counts everywhere."""
        weights, everywhere = model.shardings(self.mesh), NamedSharding(self.mesh, P())
        state = jax.eval_shape(self._first)["optimizer"]
        moments = optax.tree_utils.tree_map_params(
            self.optimizer,
            lambda _, lies: lies,
            state,
            weights,
            transform_non_params=lambda _: everywhere,
        )
        return {"weights": weights, "optimizer": moments}

    def _advance(self, state: State, inputs: Any, targets: Any) -> tuple[State, dict[str, Any]]:
        """One step of the optimizer; the loss is the mean over the global batch."""

        def mean(weights: model.Weights) -> Any:
            return model.losses(weights, inputs, targets, self.config).mean()

        loss, gradient = jax.value_and_grad(mean)(state["weights"])
        change, moments = self.optimizer.update(gradient, state["optimizer"], state["weights"])
        weights = optax.apply_updates(state["weights"], change)
        told = {"loss": loss, "norm": optax.tree.norm(gradient)}
        return {"weights": weights, "optimizer": moments}, told

    def _validate(self, weights: model.Weights, inputs: Any, targets: Any, counts: Any) -> Any:
        return (model.losses(weights, inputs, targets, self.config).mean(axis=1) * counts).sum()

    def _global(self, mine: Any) -> jax.Array:
        """The global batch of which each copy of the model holds a part."""
        sharding = NamedSharding(self.mesh, P(model.DATA))
        return jax.make_array_from_process_local_data(sharding, np.asarray(mine))

    def resume(self) -> None:
        """Go on after the newest checkpoint, if there is one."""
        found = checkpoint.newest(self.folder)
        if found is None:
            return
        folder, about = found
        checkpoints.demand_same(about["configuration"], asdict(self.config), folder, MAY_DIFFER)
        self.state = checkpoint.load(self.state, folder)
        self.step = about["step"]
        self.log("resume", self.step, ranks=about["ranks"])

    def save(self) -> None:
        """Write a checkpoint."""
        about = {"step": self.step, "configuration": asdict(self.config)}
        about["ranks"] = jax.process_count()
        checkpoint.save(self.state, self.folder, about, self.config.keep_checkpoints)
        self.log("checkpoint", self.step)

    def take_step(self) -> dict[str, float]:
        """Train on the next global batch; return its loss, and the gradient's norm."""
        batch = self.windows.batch(self.step, self.copy, self.copies)
        inputs, targets = (self._global(part.numpy().astype(np.int32)) for part in batch)
        self.state, told = self.advance(self.state, inputs, targets)
        found = {name: float(value) for name, value in told.items()}  # waits for the step
        self.step += 1
        if not math.isfinite(found["loss"]):
            raise Stop(DIVERGED, f"the loss is {found['loss']} at step {self.step}")
        return found

    def held_out(self) -> dict[str, float]:
        """Return the mean loss on windows that are never trained on, and how many they were."""
        config, total, count = self.config, 0.0, 0
        for batch in self.windows.held_out(config.global_batch_size, config.validation_windows):
            inputs, targets = (part.numpy().astype(np.int32) for part in batch)
            lacking = config.global_batch_size - len(inputs)  # all batches have the same shape
            counts = np.array([1.0] * len(inputs) + [0.0] * lacking, dtype=np.float32)
            inputs, targets = (np.pad(part, ((0, lacking), (0, 0))) for part in (inputs, targets))
            mine = slice(self.copy, None, self.copies)
            parts = [self._global(part[mine]) for part in (inputs, targets, counts)]
            total += float(self.validate(self.state["weights"], *parts))
            count += len(batch[0])
        return {"loss": total / count, "held_out": count}

    def run(self) -> None:
        """Train to the last step."""
        config, tokens = self.config, self.config.global_batch_size * self.config.length
        self.log(
            "start",
            0,
            world_size=jax.process_count(),
            backend="gloo" if jax.default_backend() == "cpu" else "nccl",
            jax=jax.__version__,
            mesh=dict(self.mesh.shape),
            parameters=sum(leaf.size for leaf in jax.tree.leaves(self.state["weights"])),
            samples=len(self.windows.train),
            configuration=asdict(config),
        )
        self.resume()
        began, first, seconds = time.perf_counter(), self.step, 0.0
        while self.step < config.steps:
            started = time.perf_counter()
            told = self.take_step()
            took = time.perf_counter() - started
            seconds += took if self.step > first + WARM_UP else 0
            last = self.step == config.steps
            if self.step % config.log_every == 0 or last:
                self.log("step", self.step, **told, **self._rates(tokens / took), **_memory())
            if self.step % config.checkpoint_every == 0 or last:
                self.save()
        counted = max(0, self.step - first - WARM_UP)
        rates = self._rates(tokens * counted / seconds) if counted else {"tokens_per_s": 0.0}
        whole = round(time.perf_counter() - began, 3)
        digest = _digest(self.state["weights"])
        self.log(
            "final", self.step, **self.held_out(), seconds=whole, **rates, parameters_sha256=digest
        )

    def _rates(self, tokens_per_s: float) -> dict[str, float]:
        """Tokens per second, and their share of the GPUs' bf16 peak where a data sheet says it."""
        words = jax.devices()[0].device_kind.replace("-", " ").split()
        peaks = [speed.PEAK_TFLOPS[word] for word in words if word in speed.PEAK_TFLOPS]
        told = {"tokens_per_s": round(tokens_per_s, 1)}
        if peaks:
            most = 1e12 * peaks[0] * jax.device_count()
            told["mfu"] = round(tokens_per_s * model.flops_per_token(self.config) / most, 4)
        return told


def _memory() -> dict[str, float]:
    """The most memory that this process had: of its GPU, or on a CPU of the process."""
    of_device = jax.local_devices()[0].memory_stats() or {}
    peak = of_device.get("peak_bytes_in_use") or getrusage(RUSAGE_SELF).ru_maxrss * 2**10
    return {"mem_gib": round(peak / 2**30, 3)}


def _digest(weights: model.Weights) -> str:
    """SHA-256 of all weights, the same however they are laid out; demands it of all processes."""
    sha256 = hashlib.sha256()
    for name in sorted(weights):
        sha256.update(np.asarray(multihost_utils.process_allgather(weights[name], tiled=True)))
    mine = np.frombuffer(sha256.digest(), dtype=np.uint8)
    everyone = np.asarray(multihost_utils.process_allgather(mine)).reshape(-1, len(mine))
    if (everyone != mine).any():
        raise RuntimeError("the processes ended with different weights")
    return sha256.hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one process."""
    made = parser(DEFAULT_CONFIGURATION)
    made.add_argument("--data", type=Path, help="a file or folder; Python's help pages if none")
    options = made.parse_args(arguments)
    config = configuration.load(options.configuration, options.set)
    options.checkpoints.mkdir(parents=True, exist_ok=True)
    meet(math.ceil(options.timeout_s))
    Trainer(config, options.checkpoints, options.data).run()
    jax.distributed.shutdown()  # waits for all: without it the first to end would end the others


if __name__ == "__main__":
    records.run(main)
