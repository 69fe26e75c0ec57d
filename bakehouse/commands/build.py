"""`bakehouse build`."""

import typer


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""

    @application.command(name="build")
    def build_command() -> None:
        raise NotImplementedError
