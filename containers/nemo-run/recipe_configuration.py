"""What a NeMo 2 recipe is told: those of configurations/*.json that name one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.configuration import made, read, refuse_broken
from training.records import WRONG_INPUT, Stop

PRECISIONS = ("bf16_mixed", "bf16_with_fp8_mixed", "bf16_with_fp8_current_scaling_mixed")
"""Names of NeMo's own settings, in nemo.collections.llm.recipes.precision.mixed_precision."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One training; every key must be given."""

    recipe: str  # a module of nemo.collections.llm.recipes
    shape: dict[str, Any]  # what its model has otherwise, in the terms of NeMo's GPTConfig
    vocabulary: int  # rows of the embedding
    length: int  # tokens of a sequence
    global_batch_size: int  # sequences of an optimizer step
    micro_batch_size: int  # sequences of a forward pass of one replica
    tensor_parallel: int
    pipeline_parallel: int
    virtual_pipeline: int | None  # pieces of the model on each stage; None: one
    context_parallel: int
    expert_parallel: int
    sequence_parallel: bool
    precision: str
    steps: int  # of the whole training
    warmup_steps: int
    learning_rate: float  # highest; the cosine ends at a tenth of it
    log_every: int  # steps
    checkpoint_every: int  # steps; tokens held out are looked at then as well
    keep_checkpoints: int  # best ones, besides the last

    def replicas(self, world_size: int) -> int:
        """In how many copies the model is trained by a number of processes.

        Raises:
            Stop: They are no whole number of copies, or these cannot share batch or experts.
        """
        cut = {
            "tensor": self.tensor_parallel,
            "pipeline": self.pipeline_parallel,
            "context": self.context_parallel,
        }
        copy = cut["tensor"] * cut["pipeline"] * cut["context"]
        told = " x ".join(f"{name} {parts}" for name, parts in cut.items())
        if world_size < copy or world_size % copy:
            message = f"{told} parallelism takes a multiple of {copy} GPUs, not {world_size}"
            raise Stop(WRONG_INPUT, message)
        copies = world_size // copy
        if self.global_batch_size % (copies * self.micro_batch_size):
            message = f"global_batch_size {self.global_batch_size} is no multiple of {copies} "
            raise Stop(WRONG_INPUT, f"{message}replicas x micro-batches of {self.micro_batch_size}")
        if (copies * self.context_parallel) % self.expert_parallel:
            message = f"expert_parallel {self.expert_parallel} does not divide {copies} replicas"
            raise Stop(WRONG_INPUT, message)
        return copies


def is_recipe(path: Path) -> bool:
    """Return whether a configuration is one of a recipe.

    Raises:
        Stop: It cannot be read.
    """
    return "recipe" in read(path)


def load(path: Path) -> Configuration:
    """Read a file.

    Raises:
        Stop: A key is unknown or missing, or a value is wrong.
    """
    config = made(
        Configuration,
        read(path, "shape"),
        path,
        may_be_zero={"warmup_steps"},
        choices={"precision": PRECISIONS},
    )
    pieces = 2 * config.context_parallel  # each rank has one from the front, one from the back
    split = config.context_parallel > 1 and config.length % pieces
    refuse_broken(
        {
            "warmup_steps must be fewer than steps": config.warmup_steps >= config.steps,
            "sequence_parallel is of no use where tensor_parallel is 1": (
                config.sequence_parallel and config.tensor_parallel == 1
            ),
            "virtual_pipeline takes pipeline_parallel above 1": (
                config.virtual_pipeline is not None and config.pipeline_parallel == 1
            ),
            f"length {config.length} is no multiple of {pieces}, 2 x context_parallel": split,
        },
        path,
    )
    return config
