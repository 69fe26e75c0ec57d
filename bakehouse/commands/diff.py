"""`bakehouse diff`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bakehouse.console import results
from bakehouse.errors import InputError

HELP = """
Say what differs between two images: components, packages, layers, size, checks.

Each side is an image that was checked, or a folder or report.json of an earlier check. A dash
means that this side has no such thing.

Examples:

    bakehouse diff cpu-machine cpu-ddp

    bakehouse diff /archive/cpu-ddp-june cpu-ddp --json

Exit status: 0, whatever differs; 2 wrong input.
"""


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""

    @application.command(name="diff", help=HELP)
    def diff_command(
        before: Annotated[str, typer.Argument(help="Image, folder, or report.json.")],
        after: Annotated[str, typer.Argument(help="Image, folder, or report.json.")],
        as_json: Annotated[bool, typer.Option("--json", help="Differences as JSON.")] = False,
    ) -> None:
        from bakehouse.report.difference import difference

        found = difference(_report(before), _report(after))
        if as_json:
            typer.echo(json.dumps(found, indent=1))
        elif not found:
            results.print("no difference")
        else:
            show(before, after, found)


def _report(side: str) -> dict[str, Any]:
    from bakehouse import layout
    from bakehouse.images import load_images
    from bakehouse.report import content
    from bakehouse.stacks.validation import suggestion

    images = {name for name, image in load_images().items() if image.kind != "rootfs"}
    path = layout.OUT / side if side in images else Path(side)
    if path.is_dir():
        path /= "report.json"
    if not path.is_file():
        raise InputError(
            f"there is no report of {side}",
            where=str(path),
            remedy=f"bakehouse check {side}" if side in images else suggestion(side, images),
        )
    try:
        return content.read(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(
            f"this is not a report: {error}",
            where=str(path),
            remedy="give report.json of `bakehouse check`",
        ) from error


def show(before: str, after: str, found: dict[str, Any]) -> None:
    """Print differences by part, one table each."""
    from rich.markup import escape
    from rich.table import Table

    for part, changes in found.items():
        table = Table(title=part, title_justify="left", box=None, pad_edge=False)
        for heading in ("", before, after):
            table.add_column(escape(heading), overflow="fold")
        for name, (old, new) in changes.items():
            table.add_row(*(escape(text or "–") for text in (name, old, new)))
        results.print(table)
