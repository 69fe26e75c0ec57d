"""Whether what NeMo 1 trains with is here: NeMo itself before 2.0, Apex, Transformer Engine.

NeMo 1's Megatron models refuse to be made without Apex ("Apex was not found"), which no package
index has; NVIDIA's images of NeMo have it. `python framework.py` ends with status 2 and says what
is missing; the image's build runs it, so that no image is made without.
"""

import sys
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec

from training.records import WRONG_INPUT, Stop

NEEDED = {
    "nemo": "nemo_toolkit",
    "apex": "Apex",
    "transformer_engine": "Transformer Engine",
    "megatron": "Megatron-Core",
}
IMAGE = "start from one of NVIDIA's images of NeMo 1"


def demand_framework(
    there: Callable[[str], bool] = lambda name: find_spec(name) is not None,
    version: Callable[[str], str] = metadata.version,
) -> str:
    """Return NeMo's version.

    Args:
        there: Whether a module can be imported.
        version: Of a distribution.

    Raises:
        Stop: Something is missing, or NeMo is not of the first generation.
    """
    if missing := [told for name, told in NEEDED.items() if not there(name)]:
        told = f"NeMo 1 trains on GPUs alone, and needs {', '.join(missing)}"
        raise Stop(WRONG_INPUT, f"{told}: {IMAGE}; or take the test case nemo-run (NeMo 2)")
    found = version("nemo_toolkit")
    if not found.startswith("1."):
        told = f"nemo_toolkit is {found}, and this test case is for 1.x"
        raise Stop(WRONG_INPUT, f"{told}: {IMAGE}; for NeMo 2 take the test case nemo-run")
    return found


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{demand_framework()}\n")
    except Stop as stop:
        sys.stderr.write(f"{stop.message}\n")
        sys.exit(stop.status)
