"""`bakehouse diff`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bakehouse.console import results
from bakehouse.errors import InputError

HELP = """
Say what differs between two images: components, packages, layers, size, checks.

Each side is an image that was checked, or a folder or report.json of an earlier check.

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
            _show(before, after, found)


def _report(side: str) -> dict[str, Any]:
    from bakehouse import layout
    from bakehouse.images import load_images

    path = Path(side)
    if side in load_images():
        path = layout.OUT / side
    if path.is_dir():
        path /= "report.json"
    if not path.is_file():
        raise InputError(
            f"there is no report of {side}", where=str(path), remedy=f"bakehouse check {side}"
        )
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        content["packages"], content["results"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "this is not a report", where=str(path), remedy="give report.json of `bakehouse check`"
        ) from error
    return content


def _show(before: str, after: str, found: dict[str, Any]) -> None:
    from rich.table import Table

    for part, changes in found.items():
        table = Table(title=part, title_justify="left", box=None, pad_edge=False)
        for heading in ("", before, after):
            table.add_column(heading, overflow="fold")
        for name, (old, new) in changes.items():
            table.add_row(name, old or "–", new or "–")
        results.print(table)
