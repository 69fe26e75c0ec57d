"""The experiment as PaxML knows it: a model of its own family, the text, and programs that tell."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import data
import jax
import jax.numpy as jnp
import numpy as np
from configuration import Configuration
from paxml import programs
from paxml.tasks.lm import model_params
from praxis import layers, pax_fiddle
from training.records import DIVERGED, Log, Stop

WARM_UP = 2  # steps that are compiled or first of their kind; not measured


class Training(programs.SingleTaskTrainProgram):  # type: ignore[misc]
    """PaxML's steps, told as records; ends where the loss is not finite."""

    def __init__(self, config: Configuration, log: Log, saved: Callable[[], int]) -> None:
        """Begin.

        Args:
            config: What is trained.
            log: Takes the records.
            saved: Gives the step of the newest checkpoint.
        """
        super().__init__()
        self.config, self.log, self.saved = config, log, saved
        self.told_checkpoint, self.seconds, self.counted = 0, 0.0, 0
        self.state: Any = None

    def setup(
        self, task: Any, inputs: Any, partitioner: Any, folder: Any, *others: Any, **options: Any
    ) -> None:
        """Begin at the step of the checkpoint, if PaxML found one."""
        super().setup(task, inputs, partitioner, folder, *others, **options)
        self.folder = folder
        self.told_checkpoint = self._initial_step
        if self._initial_step:
            self.log("resume", self._initial_step)

    def should_run(self, state: Any, step: int) -> bool:
        """Tell of the checkpoint that PaxML writes just before it asks this."""
        self.state = state
        self.tell_checkpoint()
        return bool(super().should_run(state, step))

    def tell_checkpoint(self) -> None:
        """Tell of a checkpoint that was not there before."""
        saved = self.saved()
        if saved > self.told_checkpoint:
            self.told_checkpoint = saved
            self.log("checkpoint", saved)

    def run(self, state: Any, step: int) -> Any:
        """Take one step."""
        self.train_input.step = step
        began = time.perf_counter()
        output = super().run(state, step)
        loss = number(output.loss)  # waits for the step
        took = time.perf_counter() - began
        if not math.isfinite(loss):
            raise Stop(DIVERGED, f"the loss is {loss} at step {step + 1}")
        if step >= self._initial_step + WARM_UP:
            self.seconds, self.counted = self.seconds + took, self.counted + 1
        if (step + 1) % self.config.log_every == 0 or step + 1 == self.config.steps:
            rate = round(self._tokens / took, 1)
            self.log("step", step + 1, loss=loss, tokens_per_s=rate, mem_gib=memory_gib())
        return output

    @property
    def _tokens(self) -> int:
        return self.config.global_batch_size * self.config.length

    def held_out(self, windows: Any) -> float:
        """The mean loss of the last state on the windows held out.

        Args:
            windows: The input, as `LanguageModel.eval_datasets` has it.
        """
        program, mesh = HeldOut(windows), self._partitioner.global_mesh
        with mesh:
            program.setup(self._task, self._partitioner, self.folder, self._eval_prng_seed, False)
            return program.loss(self.state)

    def mean_rate(self) -> float:
        """Tokens per second after the warm-up."""
        return round(self._tokens * self.counted / self.seconds, 1) if self.counted else 0.0


class LanguageModel(model_params.TransformerLmSpmdAdafactor):  # type: ignore[misc]
    """PaxML's SPMD decoder with Adam, as its own LmCloudSpmd, weights cut over all devices."""

    USE_REPEATED_LAYER = True
    ACTIVATION_CLS = layers.GELU
    EVAL_INTERVAL_STEPS = 0  # the held-out windows are looked at once, at the end

    def __init__(self, config: Configuration, program: Training, path: Path | None) -> None:
        self.config, self.program, self.path = config, program, path
        self.NUM_LAYERS, self.MODEL_DIMS = config.layers, config.width
        self.HIDDEN_DIMS, self.DIMS_PER_HEAD = config.hidden, config.head
        self.VOCAB_SIZE = config.vocabulary
        self.FPROP_DTYPE = jnp.dtype(config.compute)
        self.CHECKPOINT_EVERY_N_STEPS = config.checkpoint_every
        self.CHECKPOINT_MAX_TO_KEEP = config.keep_checkpoints
        self.SUMMARY_INTERVAL_STEPS = config.steps
        self.ICI_MESH_SHAPE = [1, jax.device_count(), 1]

    def task(self) -> Any:
        """The model, its optimizer, and when to save."""
        config, task = self.config, super().task()
        model_params.set_default_adam(
            task,
            config.learning_rate,
            config.weight_decay,
            warmup_steps=config.warmup_steps,
            decay_start=config.warmup_steps + 1,
            decay_end=config.decay_steps,
        )
        task.train.learner.repeat_prefix_sep = "_"
        task.train.num_train_steps = config.steps
        task.train.random_seed = config.seed
        return task

    def datasets(self) -> list[Any]:
        """The windows to train on, and those held out."""
        return [self._windows(is_training=True), self._windows(is_training=False)]

    def _windows(self, *, is_training: bool) -> Any:
        config, processes = self.config, jax.process_count()
        whole = config.global_batch_size
        _, test = data.windows(str(self.path) if self.path else None, config.length)
        return pax_fiddle.Config(
            data.Windows,
            name="train" if is_training else "held_out",
            path=str(self.path) if self.path else None,
            length=config.length,
            seed=config.seed,
            batch_size=whole // processes,
            num_infeed_hosts=processes,
            infeed_host_index=jax.process_index(),
            is_training=is_training,
            eval_loop_num_batches=math.ceil(len(test) / whole),
            reset_for_eval=not is_training,
        )

    def train_programs(self) -> list[Any]:
        """The one that tells."""
        return [self.program]


class HeldOut(programs.SingleTaskEvalProgram):  # type: ignore[misc]
    """PaxML's evaluation, without its files: the mean loss on the windows held out."""

    def loss(self, state: Any) -> float:
        """The mean over all their tokens."""
        _, _, _, metrics, _, _ = self._run_eval_loop(state.to_eval_state())
        parts = [(number(value), number(weight)) for value, weight in metrics["total_loss"]]
        return sum(v * w for v, w in parts) / sum(w for _, w in parts)


def number(value: Any) -> float:
    """A number of which every device has a copy."""
    local = value.addressable_data(0) if isinstance(value, jax.Array) else value
    return float(np.asarray(local).reshape(-1)[0])


def memory_gib() -> float:
    """The most memory that this process had: of its GPU, or on a CPU of the process."""
    of_device = jax.local_devices()[0].memory_stats() or {}
    peak = of_device.get("peak_bytes_in_use") or getrusage(RUSAGE_SELF).ru_maxrss * 2**10
    return round(float(peak) / 2**30, 3)
