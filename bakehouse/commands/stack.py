"""`bakehouse stack`."""

import typer


def register(application: typer.Typer) -> None:
    """Add this command group to the command line."""
    stack = typer.Typer(help="Stacks: which versions go together.", no_args_is_help=True)

    @stack.command(name="list")
    def list_command() -> None:
        raise NotImplementedError

    application.add_typer(stack, name="stack")
