"""torchrun --nproc-per-node=32 train.py --configuration FILE --checkpoints FOLDER

Trains Llama 3 on Trainium by NeuronX Distributed: tensor, pipeline and sequence parallelism,
ZeRO-1, checkpointed activations. Rank 0 prints one JSON object per line. Started again with the
same --checkpoints it goes on after the newest one. Exit status of a process: 0 done, 2 wrong
configuration, data or checkpoint, or no Trainium; 3 the loss diverged.
Not verified: nobody has run it on Trainium here. Elsewhere it stops and says what it needs.
"""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from configuration import load
from framework import demand_devices, demand_packages
from training.arguments import parser
from training.records import run

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/tiny.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one rank.

    Raises:
        Stop: It cannot go on; with the exit status and the reason.
    """
    options = parser(DEFAULT_CONFIGURATION, changes=False).parse_args(arguments)
    config = load(options.configuration)
    config.replicas(int(os.environ.get("WORLD_SIZE", "1")))
    demand_packages()
    demand_devices()
    # Only now: elsewhere than on Trainium what it imports is not there.
    trainer = import_module("trainer")
    trainer.train(config, options.checkpoints, options.timeout_s)


if __name__ == "__main__":
    run(main)
