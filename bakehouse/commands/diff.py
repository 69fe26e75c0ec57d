"""`bakehouse diff`."""

import typer


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""

    @application.command(name="diff")
    def diff_command() -> None:
        raise NotImplementedError
