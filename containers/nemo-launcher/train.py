"""torchrun --nproc-per-node=8 train.py --configuration FILE --checkpoints FOLDER

Trains a GPT-3 or Llama 2 by NeMo 1 (Megatron-Core, Transformer Engine, Apex) on GPUs. Rank 0 prints
one JSON object per line. Started again with the same --checkpoints it goes on after the newest one.
Exit status of a process: 0 done, 2 wrong configuration or data, or no NeMo 1; 3 the loss diverged.
Not verified: nobody has run it on GPUs here. Elsewhere it stops and says what it needs.
"""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from configuration import load
from framework import demand_framework
from training.arguments import parser
from training.records import run

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/gpt3-126m.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one rank.

    Raises:
        Stop: It cannot go on; with the exit status and the reason.
    """
    options = parser(DEFAULT_CONFIGURATION, changes=False).parse_args(arguments)
    config = load(options.configuration)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    config.replicas(world_size)
    demand_framework()
    # Only now: without GPUs and NeMo 1 what it imports is not there.
    trainer = import_module("trainer")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size)))
    trainer.train(config, options.checkpoints, world_size // local, local)


if __name__ == "__main__":
    run(main)
