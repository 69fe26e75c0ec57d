"""Compiles our NCCL program with the toolchain of a container, and runs it there."""

from pathlib import Path
from typing import Any

from docker.models.containers import Container

SOURCE = Path(__file__).with_name("nccl_program.cu")
SOURCE_INSIDE = "/srv/nccl_program.cu"
MOUNT = {str(SOURCE): {"bind": SOURCE_INSIDE, "mode": "ro"}}
NOTHING_TO_RUN_ON = 77

# As anybody would, who knows only where the two usually are.
_BUILD = (
    "/usr/local/cuda/bin/nvcc -arch=sm_90 -I/usr/local/nccl/include -L/usr/local/nccl/lib "
    f"-o /tmp/nccl_program {SOURCE_INSIDE} -lnccl"
)


def compiled_and_run(container: Container) -> tuple[int, str]:
    """Exit status and output of the program; where it does not compile, of the compiler."""
    done: Any = container.exec_run(["sh", "-c", _BUILD])
    if done.exit_code == 0:
        done = container.exec_run(["/tmp/nccl_program"])
    return done.exit_code, done.output.decode()
