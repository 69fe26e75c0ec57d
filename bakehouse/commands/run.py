"""`bakehouse run`."""

import typer


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""

    @application.command(name="run")
    def run_command() -> None:
        raise NotImplementedError
