"""Starting the program `collectives` on this machine: in a container, or as it is."""

import os
import shutil
import subprocess
from typing import Any

from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import ReadTimeout

from bakehouse import engine, layout
from bakehouse.errors import HostError, RunError
from bakehouse.launch.node import parse

FOLDER = "/bakehouse"
"""Where a container sees containers/shared."""


def command(processes: int, options: list[str]) -> list[str]:
    """Arguments that start the processes."""
    start = ["torchrun", "--standalone", f"--nproc-per-node={processes}", "-m", "collectives"]
    return [*start, *options]


def in_container(image: str, arguments: list[str], *, gpus: bool, timeout_s: float) -> list[str]:
    """Lines that the program prints in a container of an image, which is removed at the end.

    Raises:
        HostError: There is no such image, or the container cannot start.
        RunError: The program failed or took too long; says so with its last lines.
    """
    options: dict[str, Any] = {
        "environment": {"PYTHONPATH": FOLDER, "PYTHONDONTWRITEBYTECODE": "1"},
        "volumes": {str(layout.SHARED): {"bind": FOLDER, "mode": "ro"}},
        "entrypoint": [],
        "shm_size": "4g",
    }
    if gpus:
        options["device_requests"] = engine.gpus()
    with engine.running_container(image, arguments, **options) as container:
        try:
            status = str(container.wait(timeout=timeout_s)["StatusCode"])
        except (ReadTimeout, RequestsConnectionError):
            status = f"none within {timeout_s:g} s"
        lines = container.logs(stderr=False).decode(errors="replace").splitlines()
        if not _ended(lines):
            said = container.logs(tail=20).decode(errors="replace").strip()
            raise _failed(status, said, image)
        return lines


def here(arguments: list[str], *, timeout_s: float) -> list[str]:
    """Lines that the program prints on this machine itself, by the torchrun that is in the PATH.

    Raises:
        HostError: There is no torchrun.
        RunError: The program failed or took too long; says so with its last lines.
    """
    program = shutil.which(arguments[0])
    if program is None:
        raise HostError(
            "there is no torchrun here",
            where="PATH",
            remedy="activate an environment with PyTorch, or leave --here out to use an image",
        )
    environment = {**os.environ, "PYTHONPATH": str(layout.SHARED)}
    try:
        done = subprocess.run(
            [program, *arguments[1:]],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(f"none within {timeout_s:g} s", str(error.stderr or ""), program) from error
    lines = done.stdout.splitlines()
    if not _ended(lines):
        raise _failed(str(done.returncode), done.stderr, program)
    return lines


def _ended(lines: list[str]) -> bool:
    return any((record := parse(line)) and record["event"] == "end" for line in lines)


def _failed(status: str, said: str, where: str) -> RunError:
    return RunError(
        f"the measurement did not come to its end (exit status {status}):\n{said.strip()[-2000:]}",
        where=where,
        remedy="fewer processes or a smaller --most, if memory ran out",
    )
