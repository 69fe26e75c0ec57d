"""Starting other programs: say what is started, raise with its output when it fails."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bakehouse.console import progress
from bakehouse.errors import BakehouseError, HostError


def run(
    command: Sequence[str],
    *,
    failure: type[BakehouseError],
    remedy: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout_s: float | None = None,
    quiet: bool = False,
) -> str:
    """Run a program to its end and return its standard output.

    Args:
        command: Program and arguments.
        failure: Error class to raise when the program ends with a non-zero status.
        remedy: What the user should do when it fails.
        cwd: Working directory.
        env: Variables added to the present environment.
        stdin: Text given to the program.
        timeout_s: Seconds after which the program is ended and `failure` raised.
        quiet: Do not show the command line.

    Raises:
        HostError: The program is not installed.
        BakehouseError: As `failure`, with the last lines the program printed.
    """
    if not quiet:
        progress.print(f"[dim]+ {shlex.join(command)}[/dim]", markup=True)
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise HostError(
            f"{command[0]} is not installed", remedy="run `make setup`, which installs it"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise failure(
            f"{command[0]} did not end within {timeout_s} s",
            where=shlex.join(command),
            remedy=remedy,
        ) from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise failure(
            f"{command[0]} ended with status {done.returncode}:\n{tail}",
            where=shlex.join(command),
            remedy=remedy,
        )
    return done.stdout
