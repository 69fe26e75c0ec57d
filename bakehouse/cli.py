"""The command line: dispatch, and how errors end the program."""

import os
import signal
import sys
from importlib import import_module

import typer
from rich.text import Text

from bakehouse.console import progress
from bakehouse.errors import BakehouseError

EXIT_STATUSES = """
Exit status: 0 done; 1 a check failed; 2 wrong input; 3 this machine lacks something;
4 an artefact could not be fetched or verified; 5 a build failed; 6 a run failed; 130 interrupted.
"""

application = typer.Typer(
    name="bakehouse",
    help=f"Bake images for distributed training, and prove that they work.\n\n{EXIT_STATUSES}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

COMMANDS = (
    "stack", "plan", "build", "case", "env", "run", "bench",
    "check", "diff", "versions", "mirror", "ami", "disk",
)  # fmt: skip
for _command in COMMANDS:
    import_module(f"bakehouse.commands.{_command}").register(application)


def main() -> None:
    """Run the command line; a BakehouseError is one clear message, never a traceback."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            # Otherwise `kill`, or a terminal that closes, ends us before things are put away.
            signal.signal(number, signal.default_int_handler)
    try:
        application()
    except BakehouseError as error:
        progress.print(Text.assemble(("error:", "bold red"), f" {error}"))
        if os.environ.get("BAKEHOUSE_TRACEBACK"):
            raise
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        progress.print("[bold red]interrupted[/bold red]")
        sys.exit(130)
