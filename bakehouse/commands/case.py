"""`bakehouse case`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bakehouse.launch.case import Case

HELP = """Test cases: what can be trained, on what, and what was seen of it.

Examples:

    bakehouse case list

    bakehouse case show fsdp            # its configurations, and what they are meant for

    bakehouse case list --json | jq '.[] | select(.status.how == "native") | .name'
"""

application = typer.Typer(no_args_is_help=True, help=HELP, rich_markup_mode="markdown")


def register(parent: typer.Typer) -> None:
    """Add this command to the command line."""
    parent.add_typer(application, name="case")


@application.command("list")
def list_command(
    *, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """All test cases, each with its image."""
    from bakehouse.console import results
    from bakehouse.launch.case import case_names, load_case

    cases = [load_case(name) for name in case_names()]
    if as_json:
        typer.echo(json.dumps([case.model_dump() for case in cases], indent=1))
    else:
        results.print(_overview(cases))


@application.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="A folder of containers/.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """One test case with its configurations."""
    from bakehouse.console import results
    from bakehouse.launch.case import load_case

    case = load_case(name)
    if as_json:
        typer.echo(json.dumps(case.model_dump(), indent=1))
        return
    results.print(f"[bold]{case.name}[/bold]: {case.title}")
    results.print(f"{case.status.how}: {case.status.about}", markup=False, highlight=False)
    results.print(_configurations(case))


def _overview(cases: "list[Case]") -> object:
    from rich.table import Table

    table = Table(title="test cases", title_justify="left")
    for heading in ("case", "what", "configurations", "seen"):
        table.add_column(heading, no_wrap=heading == "case")
    for case in cases:
        table.add_row(case.name, case.title, str(len(case.configurations)), case.status.how)
    return table


def _configurations(case: "Case") -> object:
    from rich.table import Table

    table = Table(title_justify="left")
    for heading in ("configuration", "what", "runs on", "a copy takes", "meant for"):
        table.add_column(heading)
    for name, one in case.configurations.items():
        meant = f"{one.nodes or 1} x {one.instance}" if one.instance else "any machine"
        default = " (default)" if name == case.default_configuration else ""
        processes = one.splits.processes
        copies = f"{processes} process{'es' if processes > 1 else ''}"
        table.add_row(f"{name}{default}", one.about, one.device, copies, meant)
    return table
