"""`bakehouse build`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bakehouse.console import results
from bakehouse.images import load_images
from bakehouse.stacks.stack import stack_names

if TYPE_CHECKING:
    from bakehouse.builder.build import BuildResult

HELP = """
Build images, each role a layer, and what they stand on.

Only what changed runs. A failed or interrupted build leaves no name; the next one goes on from the
last good layer.

Examples:

    bakehouse build cpu-ddp

    bakehouse build cpu --plan          # which layers would run, and why

    bakehouse build cpu --stack gpu-cuda13 --json
"""


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""

    @application.command(name="build", help=HELP)
    def build_command(
        images: Annotated[list[str], typer.Argument(help="Images.", autocompletion=_images)],
        stack: Annotated[
            str | None, typer.Option(help="Another stack.", autocompletion=stack_names)
        ] = None,
        plan: Annotated[
            bool, typer.Option("--plan", help="Say what would run; run nothing.")
        ] = False,
        no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every layer.")] = False,
        allow_broken_stack: Annotated[
            bool, typer.Option("--allow-broken-stack", help="Build although a rule is broken.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Result as JSON.")] = False,
    ) -> None:
        from bakehouse.builder.build import Options, build_image

        options = Options(
            stack=stack, plan_only=plan, no_cache=no_cache, allow_broken_stack=allow_broken_stack
        )
        built = [build_image(name, options) for name in images]
        if as_json:
            typer.echo(json.dumps([result.as_json() for result in built], indent=1))
        elif plan:
            for result in built:
                _show_plan(result)


def _images() -> list[str]:
    return list(load_images())


def _show_plan(result: "BuildResult") -> None:
    from rich.table import Table

    table = Table(title=f"{result.image} {result.build}", title_justify="left", box=None)
    for heading in ("layer", "key", "", "why"):
        table.add_column(heading)
    for layer in result.layers:
        table.add_row(layer.name, layer.key[:12], "cached" if layer.cached else "run", layer.why)
    results.print(table)
