"""`bakehouse plan`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakehouse.console import results
from bakehouse.images import load_images

if TYPE_CHECKING:
    from bakehouse.builder.catalogue import Change, Entry, Shared
    from bakehouse.builder.forecast import Forecast

HELP = """Plan images together: what they share, what a change runs again, time and cost.

Times are those of the last run of each role on this machine; cost is that time on the instance that
bakes the AMI, at the price of stacks/prices.yml. Both cover roles only, not the start of a machine
or the making of its image. Nothing is built, and docker is not needed.

Examples:

    bakehouse plan --all

    bakehouse plan --all --since HEAD~1         # what the last commit runs again

    bakehouse plan pcluster-gpu pcluster-cpu --json
"""


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""
    application.command(name="plan", help=HELP)(plan)


def _images(incomplete: str) -> list[str]:
    return [name for name in load_images() if name.startswith(incomplete)]


def plan(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE", help="Names from images.yml.", autocompletion=_images),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All images.")] = False,
    since: Annotated[
        str, typer.Option(metavar="COMMIT", help="Say what is another since then.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON.")] = False,
) -> None:
    """Print the plan."""
    from bakehouse.builder import catalogue, ledger
    from bakehouse.builder.forecast import forecast
    from bakehouse.builder.past import entries_at

    chosen = _chosen(names or [], every=every)
    entries = catalogue.entries(chosen)
    changes = catalogue.changes(entries_at(since), entries) if since else []
    runs = {change.image: change.again for change in changes}
    images, seconds = load_images(), ledger.newest_seconds()
    forecasts = {
        entry.image: forecast(
            images[entry.image],
            runs.get(entry.image, [role.name for role in entry.roles]),
            seconds,
        )
        for entry in entries
    }
    shared = catalogue.shared(entries)
    if as_json:
        results.print_json(data=_data(entries, shared, changes, forecasts))
        return
    _show(entries, changes, forecasts)
    for group in shared:
        text = f"{', '.join(group.images)} begin alike: {', '.join(group.roles)}"
        results.print(text, markup=False, highlight=False)


def _chosen(names: Sequence[str], *, every: bool) -> list[str]:
    from bakehouse.errors import InputError
    from bakehouse.images import get_image

    if every == bool(names):
        remedy = "name images, or give --all"
        raise InputError("which images?", where="bakehouse plan", remedy=remedy)
    return [get_image(name).name for name in names]


def _data(
    entries: "Sequence[Entry]",
    shared: "Sequence[Shared]",
    changes: "Sequence[Change]",
    forecasts: "dict[str, Forecast]",
) -> dict[str, Any]:
    return {
        "images": [
            {**asdict(entry), "forecast": asdict(forecasts[entry.image])} for entry in entries
        ],
        "shared": [asdict(group) for group in shared],
        "changes": [asdict(change) for change in changes],
    }


def _show(
    entries: "Sequence[Entry]", changes: "Sequence[Change]", forecasts: "dict[str, Forecast]"
) -> None:
    from rich.table import Table

    runs = {change.image: change for change in changes}
    table = Table(box=None, pad_edge=False)
    headings = ["image", "kind", "stack", "starts from", "roles", "time", "cost"]
    for heading in [*headings, *(["runs again"] if runs else [])]:
        table.add_column(heading, overflow="fold")
    for entry in entries:
        again = [_again(runs[entry.image])] if runs else []
        table.add_row(
            entry.image,
            entry.kind,
            entry.stack,
            entry.start,
            str(len(entry.roles)),
            *_expected(forecasts[entry.image]),
            *again,
        )
    results.print(table)


def _expected(found: "Forecast") -> tuple[str, str]:
    """Time and cost as words; a part that is not known is told."""
    part = "" if found.known == found.of else f", {found.known}/{found.of} roles known"
    time = f"{found.seconds / 60:.1f} min{part}" if found.known else "not known"
    if found.of == 0:
        time = "nothing runs"
    cost = f"{found.usd:.2f} USD on {found.instance}" if found.usd and found.known else ""
    return time, cost


def _again(change: "Change") -> str:
    if not change.first:
        return "nothing"
    shown = ", ".join(change.reasons[:3]) + (", …" if len(change.reasons) > 3 else "")
    return f"{len(change.again)} from {change.first}: {shown}"
