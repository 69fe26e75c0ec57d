"""What a training is told: Picotron's own JSON, section by section, without what we fill in."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local import Local
from training.configuration import fits, made, read, refuse_broken
from training.records import WRONG_INPUT, Stop

ENGINES = {"pp_engine": ("1f1b", "afab")}


@dataclass(frozen=True, kw_only=True)
class Distributed:
    """Processes that share each matrix, sequence and stack of layers; the others share the data."""

    tp_size: int
    cp_size: int
    pp_size: int
    pp_engine: str
    use_cpu: bool

    @property
    def whole(self) -> int:
        """Processes that hold one copy of the model."""
        return self.tp_size * self.cp_size * self.pp_size


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model of a hub, by name, and how many layers and heads it has here; None: as it has."""

    name: str
    num_hidden_layers: int | None
    num_attention_heads: int | None
    num_key_value_heads: int | None


@dataclass(frozen=True, kw_only=True)
class Training:
    """How it is trained. A rank takes micro_batch_size sequences at once, accumulation times."""

    seed: int
    learning_rate: float
    total_train_steps: int
    seq_length: int
    micro_batch_size: int
    gradient_accumulation_steps: int


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set of a hub, by name, with splits train and validation."""

    name: str
    subset_name: str | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training.

    Attributes:
        model: From a hub; None if it is made here.
        dataset: From a hub; None if it is made here.
        local: What is made here instead; None if both come from a hub.
        save_frequency: Steps between checkpoints.
        flash: Uses flash-attn, which needs a GPU; else PyTorch's own attention.
    """

    distributed: Distributed
    training: Training
    model: Model | None
    dataset: Dataset | None
    local: Local | None
    save_frequency: int
    flash: bool

    def copies(self, ranks: int) -> int:
        """Return the data parallel processes.

        Raises:
            Stop: The processes cannot share this training; says why.
        """
        parts = self.distributed
        copies, rest = divmod(ranks, parts.whole)
        if rest or not copies:
            told = f"tp_size x cp_size x pp_size is {parts.whole}: it does not divide {ranks}"
            raise Stop(WRONG_INPUT, f"{told} processes")
        if parts.cp_size > 1 and copies == 1:
            # train.py wraps the model in DataParallelBucket for dp_size above 1 alone.
            message = "Picotron adds up gradients of context parallel processes only if there are"
            raise Stop(WRONG_INPUT, f"{message} data parallel ones too: use {2 * parts.whole}")
        return copies

    def flat(self) -> dict[str, Any]:
        """Return every value by section and key: `model.name` is not `dataset.name`."""
        flat = {}
        for section, value in asdict(self).items():
            inner = value if isinstance(value, dict) else {"": value}
            flat |= {f"{section}.{key}".rstrip("."): one for key, one in inner.items()}
        return flat

    def told(self, ranks: int, model: str, dataset: str, load_path: str) -> dict[str, Any]:
        """Return the configuration that Picotron's train.py reads.

        Args:
            ranks: Processes.
            model: Name of a model.
            dataset: Name of a data set.
            load_path: Folder of the checkpoint to go on from; empty for none.
        """
        copies, training = self.copies(ranks), self.training
        batch = training.micro_batch_size * training.gradient_accumulation_steps * copies
        changes = asdict(self.model) if self.model else {}
        return {
            "distributed": {**asdict(self.distributed), "dp_size": copies},
            "model": {
                **{name: value for name, value in changes.items() if value is not None},
                "name": model,
                "use_fused_adam": False,
            },
            # Picotron's loop looks at the number of steps only after one, at that of tokens before.
            "training": {
                **asdict(training),
                "max_tokens": batch * training.seq_length * training.total_train_steps,
            },
            "dataset": {
                "name": dataset,
                "subset_name": self.dataset.subset_name if self.dataset else None,
                "num_workers": 0,
                "num_proc": None,
            },
            "checkpoint": {
                "save_dir": "",
                "save_frequency": self.save_frequency,
                "load_path": load_path,
            },
            "logging": {"use_wandb": False, "run_name": None},
            "environment": {
                "OMP_NUM_THREADS": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "FLASH_ATTEN": "1" if self.flash else "0",
            },
        }


def load(path: Path) -> Job:
    """Read a file.

    Raises:
        Stop: A key is unknown or missing, a value of the wrong type or out of range; says which.
    """
    values = read(path, "distributed", "training")
    optional = {"model": Model, "dataset": Dataset, "local": Local}
    for name, kind in optional.items():
        section = values.get(name)
        if not fits(section, dict | None):
            raise Stop(WRONG_INPUT, f"{path}: {name} is {section!r}; it must be a section or null")
        values[name] = None if section is None else made(kind, section, path)
    job = made(
        Job,
        {
            **values,
            "distributed": made(Distributed, values["distributed"], path, choices=ENGINES),
            "training": made(Training, values["training"], path, may_be_zero=["seed"]),
        },
        path,
    )
    refuse_broken(_rules(job), path)
    return job


def _rules(job: Job) -> dict[str, object]:
    shape, parts = job.local, job.distributed
    rules: dict[str, object] = {
        "either local is given, or model and dataset are": (job.local is None)
        != (job.model is not None and job.dataset is not None)
        or (job.model is None) != (job.dataset is None),
        "cp_size must divide seq_length": job.training.seq_length % parts.cp_size,
        "flash needs a GPU: use_cpu must be false": job.flash and parts.use_cpu,
    }
    if shape is not None:
        rules |= {
            "num_attention_heads must divide hidden_size": shape.hidden_size
            % shape.num_attention_heads,
            "num_key_value_heads must divide num_attention_heads": shape.num_attention_heads
            % shape.num_key_value_heads,
            "tp_size must divide num_key_value_heads": shape.num_key_value_heads % parts.tp_size,
            "tp_size must divide intermediate_size": shape.intermediate_size % parts.tp_size,
            "num_hidden_layers are too few for pp_size": shape.num_hidden_layers < parts.pp_size,
        }
    return rules
