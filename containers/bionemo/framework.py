"""python framework.py --configuration configurations/esm2-650m.json --nodes 2 --data FOLDER

The same configuration for BioNeMo's own ESM-2, `train_esm2` of bionemo-esm2, which trains with
NeMo, Megatron-Core and Transformer Engine on GPUs. Those are not in this image, and bionemo-esm2 is
in no package index: NVIDIA's image of BioNeMo has them. The command is printed; with --start it is
started, which works in that image alone. Not verified: nobody has run it here.
"""

import argparse
import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from configuration import Configuration, load
from training.records import WRONG_INPUT, Stop

PROGRAM = "train_esm2"
NEEDED = ("transformer_engine", "megatron", "nemo")
FILES = {
    "train-cluster-path": "train_clusters.parquet",
    "train-database-path": "train.db",
    "valid-cluster-path": "valid_clusters.parquet",
    "valid-database-path": "validation.db",
}


def command(
    config: Configuration, *, nodes: int, gpus: int, tensor: int, data: Path, results: Path
) -> list[str]:
    """Return the command that trains a configuration with BioNeMo.

    Args:
        config: What to train.
        nodes: How many.
        gpus: Of a node.
        tensor: GPUs that share each layer.
        data: A folder with clusters and sequences of UniRef, `FILES`: training and validation have
            files of their own.
        results: A folder for checkpoints and logs.

    Raises:
        Stop: The global batch cannot be shared so.
    """
    shape, world = config.architecture, nodes * gpus
    replicas, rest = divmod(world, tensor)
    whole = replicas * config.micro_batch_size
    if rest or not replicas or config.global_batch_size % whole:
        told = f"{world} GPUs, {tensor} of which share a layer, cannot have equal shares of "
        raise Stop(WRONG_INPUT, f"{told}{config.global_batch_size} sequences")
    options: dict[str, object] = {name: data / file for name, file in FILES.items()}
    options |= {
        "num-nodes": nodes,
        "num-gpus": gpus,
        "tensor-model-parallel-size": tensor,
        "num-layers": shape.layers,
        "hidden-size": shape.hidden,
        "num-attention-heads": shape.heads,
        "ffn-hidden-size": shape.ffn,
        "max-seq-length": config.length,
        "min-seq-length": config.length,
        "micro-batch-size": config.micro_batch_size,
        "accumulate-grad-batches": config.global_batch_size // whole,
        "num-steps": config.steps,
        "warmup-steps": config.warmup_steps,
        "lr": config.learning_rate,
        "precision": "bf16-mixed" if config.precision == "bf16" else "fp32",
        "val-check-interval": config.checkpoint_every,
        "log-every-n-steps": config.log_every,
        "result-dir": results,
    }
    return [PROGRAM, *(f"--{name}={value}" for name, value in options.items())]


def demand_framework() -> None:
    """Refuse to start where BioNeMo cannot run.

    Raises:
        Stop: Packages are missing; says which, and where they are.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        told = f"BioNeMo's {PROGRAM} needs {', '.join(missing)}, which this image has not"
        raise Stop(WRONG_INPUT, f"{told}: start it in NVIDIA's image of BioNeMo, on GPUs")


def main() -> None:
    """Print the command, or become it.

    Raises:
        Stop: It cannot be.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--configuration", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=8, help="of a node")
    parser.add_argument("--tensor", type=int, default=1, help="GPUs that share each layer")
    parser.add_argument("--data", type=Path, required=True, help="a folder with clusters of UniRef")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--start", action="store_true", help="instead of printing the command")
    options = parser.parse_args()
    found = command(
        load(options.configuration),
        nodes=options.nodes,
        gpus=options.gpus,
        tensor=options.tensor,
        data=options.data,
        results=options.results,
    )
    if not options.start:
        sys.stdout.write(f"{shlex.join(found)}\n")
        return
    demand_framework()
    os.execvp(found[0], found)  # noqa: S606  # a list, no shell needed


if __name__ == "__main__":
    try:
        main()
    except Stop as stop:
        sys.stderr.write(f"{stop.message}\n")
        sys.exit(stop.status)
