"""`bakehouse check`."""

import typer


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""

    @application.command(name="check")
    def check_command() -> None:
        raise NotImplementedError
