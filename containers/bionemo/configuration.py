"""What a training is told: a configurations/*.json file."""

from dataclasses import dataclass
from pathlib import Path

from model import Architecture
from training.configuration import are_betas, made, read, refuse_broken

MAY_BE_ZERO = {"seed", "warmup_steps", "weight_decay"}
MAY_CHANGE = ("log_every", "checkpoint_every", "keep_checkpoints", "micro_batch_size")
"""What a resumed training may be told anew: it decides neither model, nor data, nor schedule."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One training; every key must be given."""

    architecture: Architecture
    seed: int
    length: int  # tokens of a sequence, at most; of longer ones a piece is seen
    steps: int  # of the whole training
    warmup_steps: int
    global_batch_size: int  # sequences of an optimizer step, over all ranks
    micro_batch_size: int  # sequences that a rank works on at once, at most
    learning_rate: float  # highest, after the warm-up; then it falls to a tenth, as the paper's
    weight_decay: float  # of matrices
    betas: list[float]  # of AdamW
    gradient_clip: float  # greatest norm
    precision: str  # of the forward and backward pass, fp32 or bf16; weights and sums are fp32
    log_every: int  # steps
    checkpoint_every: int  # steps
    keep_checkpoints: int  # newest ones

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (0 is the first): a straight rise, a straight fall."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (1 - 0.9 * done)


def load(path: Path) -> Configuration:
    """Read a file.

    Raises:
        Stop: A key is unknown or missing, a value of the wrong type or out of range; says which.
    """
    values = read(path, "architecture")
    shape = made(Architecture, values["architecture"], path)
    values["architecture"] = shape
    config = made(Configuration, values, path, may_be_zero=MAY_BE_ZERO)
    rules = {
        f"heads {shape.heads} must divide hidden {shape.hidden}": shape.hidden % shape.heads,
        f"a head of {shape.head} units must be even, to rotate them in pairs": shape.head % 2,
        "precision must be fp32 or bf16": config.precision not in ("fp32", "bf16"),
        "betas must be two numbers from 0 to below 1": not are_betas(config.betas),
        "warmup_steps must be fewer than steps": config.warmup_steps >= config.steps,
        "a sequence has at least 8 tokens": config.length < 8,
    }
    refuse_broken(rules, path)
    return config
