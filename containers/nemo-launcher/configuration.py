"""What a training is told: a configurations/*.json file. Needs nothing but the standard library."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.configuration import made, read, refuse_broken
from training.records import WRONG_INPUT, Stop

FAMILIES = ("gpt3", "llama2")
MAY_BE_ZERO = {"seed", "warmup_steps", "weight_decay", "dropout"}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The shape of a model.

    Attributes:
        vocabulary: Tokens of the published tokenizer, which the matrices have room for.
        groups: Of queries that share a key and a value head.
    """

    family: str
    vocabulary: int
    length: int
    layers: int
    hidden: int
    heads: int
    groups: int
    ffn: int

    def parameters(self, vocabulary: int | None = None) -> int:
        """Return how many weights it has.

        Args:
            vocabulary: Rows of the embedding; the published ones for None.
        """
        rows, hidden = vocabulary or self.vocabulary, self.hidden
        keys_and_values = 2 * hidden * self.groups * (hidden // self.heads)
        attention = 2 * hidden * hidden + keys_and_values
        if self.family == "llama2":  # a gated feed-forward part, no biases, an output of its own
            layer = attention + 3 * hidden * self.ffn + 2 * hidden
            return 2 * rows * hidden + self.layers * layer + hidden
        biases = 4 * hidden + self.ffn + hidden
        layer = attention + 2 * hidden * self.ffn + biases + 4 * hidden
        return (rows + self.length) * hidden + self.layers * layer + 2 * hidden


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One training; every key must be given."""

    architecture: Architecture
    tensor_parallel: int
    pipeline_parallel: int
    virtual_pipeline: int | None  # layers of a stage that follow each other; None: all of them
    sequence_parallel: bool
    data: str | None  # a text file, or a folder of them; None: the text inside Python
    seed: int
    steps: int  # of the whole training
    warmup_steps: int
    global_batch_size: int  # sequences of an optimizer step
    micro_batch_size: int  # sequences of a forward pass of one replica
    learning_rate: float  # highest; the cosine ends at a tenth of it
    weight_decay: float
    dropout: float
    init_std: float
    log_every: int  # steps
    checkpoint_every: int  # steps; the held-out text is looked at then as well
    keep_checkpoints: int  # newest ones

    @property
    def rows(self) -> int:
        """Rows of the embedding: the vocabulary, filled up to a multiple of 128 for each rank."""
        multiple = 128 * self.tensor_parallel
        return -(-self.architecture.vocabulary // multiple) * multiple

    def replicas(self, world_size: int) -> int:
        """In how many copies a number of processes trains the model.

        Raises:
            Stop: They hold no whole number of copies, or these cannot share a global batch.
        """
        copy = self.tensor_parallel * self.pipeline_parallel
        found, rest = divmod(world_size, copy)
        if rest or not found:
            cut = f"tensor {self.tensor_parallel} x pipeline {self.pipeline_parallel}"
            told = f"{world_size} processes, but a copy of the model takes {copy} GPUs ({cut})"
            raise Stop(WRONG_INPUT, f"{told}: start a multiple of {copy}")
        if self.global_batch_size % (found * self.micro_batch_size):
            told = f"{found} replicas with micro-batches of {self.micro_batch_size} do not divide"
            raise Stop(WRONG_INPUT, f"{told} global_batch_size, {self.global_batch_size}")
        return found


def settings(config: Configuration, *, nodes: int, devices: int, data: Path) -> dict[str, Any]:
    """Return what NeMo 1's Megatron models and trainer are told, in the terms of their YAML files.

    Args:
        config: What to train.
        nodes: How many.
        devices: GPUs of a node.
        data: The text as Megatron's indexed dataset, without ending.
    """
    return {
        "trainer": {
            "num_nodes": nodes,
            "devices": devices,
            "accelerator": "gpu",
            "precision": "bf16",
            "logger": False,
            "enable_checkpointing": False,
            "use_distributed_sampler": False,
            "max_steps": config.steps,
            "log_every_n_steps": config.log_every,
            "val_check_interval": config.checkpoint_every,
            "limit_val_batches": 1,
            "gradient_clip_val": 1.0,
        },
        "model": {**_shape(config), **_work(config), "data": _data(config, data)},
    }


def _shape(config: Configuration) -> dict[str, Any]:
    shape = config.architecture
    common: dict[str, Any] = {
        "mcore_gpt": True,
        "encoder_seq_length": shape.length,
        "max_position_embeddings": shape.length,
        "num_layers": shape.layers,
        "hidden_size": shape.hidden,
        "ffn_hidden_size": shape.ffn,
        "num_attention_heads": shape.heads,
        "num_query_groups": shape.groups,
        "init_method_std": config.init_std,
        "hidden_dropout": config.dropout,
        "attention_dropout": config.dropout,
        "layernorm_epsilon": 1e-5,
        # A token is a byte; the matrices are as large as those of the published tokenizer.
        "tokenizer": {"library": "byte-level", "type": None, "model": None},
        "make_vocab_size_divisible_by": config.rows // config.tensor_parallel,
    }
    if shape.family == "llama2":
        return common | {
            "normalization": "rmsnorm",
            "bias": False,
            "activation": "fast-swiglu",
            "position_embedding_type": "rope",
            "rotary_percentage": 1.0,
            "share_embeddings_and_output_weights": False,
            "bias_activation_fusion": False,
            "bias_dropout_add_fusion": False,
        }
    return common


def _work(config: Configuration) -> dict[str, Any]:
    return {
        "seed": config.seed,
        "micro_batch_size": config.micro_batch_size,
        "global_batch_size": config.global_batch_size,
        "tensor_model_parallel_size": config.tensor_parallel,
        "pipeline_model_parallel_size": config.pipeline_parallel,
        "virtual_pipeline_model_parallel_size": config.virtual_pipeline,
        "sequence_parallel": config.sequence_parallel,
        "activations_checkpoint_granularity": "selective",
        "gradient_as_bucket_view": True,
        "megatron_amp_O2": True,
        "transformer_engine": True,
        "optim": {
            "name": "distributed_fused_adam",
            "lr": config.learning_rate,
            "weight_decay": config.weight_decay,
            "betas": [0.9, 0.95],
            "sched": {
                "name": "CosineAnnealing",
                "warmup_steps": config.warmup_steps,
                "constant_steps": 0,
                "min_lr": config.learning_rate / 10,
            },
        },
    }


def _data(config: Configuration, data: Path) -> dict[str, Any]:
    held_out = [f"{data}-held-out"]
    return {
        "data_impl": "mmap",
        "seq_length": config.architecture.length,
        "num_workers": 0,
        "dataloader_type": "single",
        # Upstream's benchmark trains on generated tokens; this is text, with a part held out.
        "data_prefix": {"train": [str(data)], "validation": held_out, "test": held_out},
        "index_mapping_dir": str(data.parent),
    }


def load(path: Path) -> Configuration:
    """Read a file.

    Raises:
        Stop: A key is unknown or missing, a value is wrong, or the model cannot be cut so.
    """
    values = read(path, "architecture")
    shape = made(Architecture, values["architecture"], path, may_be_zero=MAY_BE_ZERO)
    values["architecture"] = shape
    config = made(Configuration, values, path, may_be_zero=MAY_BE_ZERO)
    tensor, stages = config.tensor_parallel, config.pipeline_parallel
    chunks = stages * (config.virtual_pipeline or 1)
    rules = {
        f"family must be one of {', '.join(FAMILIES)}": shape.family not in FAMILIES,
        f"heads {shape.heads} must divide hidden {shape.hidden}": shape.hidden % shape.heads,
        f"groups {shape.groups} must divide heads {shape.heads}": shape.heads % shape.groups,
        f"tensor_parallel {tensor} must divide groups {shape.groups}": shape.groups % tensor,
        f"{chunks} pieces of the pipeline must divide layers {shape.layers}": shape.layers % chunks,
        "warmup_steps must be fewer than steps": config.warmup_steps >= config.steps,
    }
    refuse_broken(rules, path)
    return config
