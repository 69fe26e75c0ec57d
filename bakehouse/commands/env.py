"""`bakehouse env`."""

import json
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from bakehouse.stacks.stack import stack_names

if TYPE_CHECKING:
    from bakehouse.launch.environment import Setting
    from bakehouse.launch.fabric import LeftOut
    from bakehouse.stacks.environment import Scheduler

HELP = """Environment variables of training processes on an EC2 instance type: each with its reason.

They come from the rules in `stacks/environment.yml`, for the versions of a stack. What is left out
is told as well, and why. `bakehouse run --on slurm|kubernetes|batch` sets them.

Examples:

    bakehouse env --instance p4d.24xlarge --stack gpu-cuda13

    bakehouse env --instance p5.48xlarge --stack gpu-cuda13 --on kubernetes --json

    source <(bakehouse env --instance p5.48xlarge --stack gpu-cuda13 --export)
"""


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""

    @application.command(name="env", help=HELP)
    def env_command(
        *,
        instance: Annotated[
            str, typer.Option(help="EC2 instance type.", autocompletion=_instances)
        ],
        stack: Annotated[
            str, typer.Option(help="Whose versions.", autocompletion=stack_names)
        ] = "gpu-cuda13",
        nodes: Annotated[int, typer.Option(min=1, help="Machines of the job.")] = 2,
        scheduler: Annotated[
            str, typer.Option("--on", help="slurm, kubernetes, batch or docker.")
        ] = "slurm",
        case: Annotated[str | None, typer.Option(help="Test case that is trained.")] = None,
        export: Annotated[
            bool, typer.Option("--export", help="Lines for a shell, with the reasons as comments.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    ) -> None:
        from bakehouse.console import results
        from bakehouse.launch.fabric import fabric_settings
        from bakehouse.stacks.stack import load_stack

        settings, left_out = fabric_settings(
            instance.removeprefix("ml."),
            load_stack(stack),
            nodes=nodes,
            scheduler=_scheduler(scheduler),
            case=_case(case),
        )
        if as_json:
            typer.echo(_as_json(settings, left_out))
        elif export:
            for one in settings:
                typer.echo(f"# {one.reason}\nexport {one.variable}={shlex.quote(one.value)}")
        else:
            results.print(_set(settings))
            results.print(_left_out(left_out))


def _instances() -> list[str]:
    from bakehouse.stacks.instances import load_instances

    return list(load_instances())


def _scheduler(name: str) -> "Scheduler":
    from typing import get_args

    from bakehouse.errors import InputError
    from bakehouse.stacks.environment import Scheduler
    from bakehouse.stacks.validation import suggestion

    for scheduler in get_args(Scheduler):
        if scheduler == name:
            found: Scheduler = scheduler
            return found
    raise InputError(
        f"there is no scheduler {name}", where="--on", remedy=suggestion(name, get_args(Scheduler))
    )


def _case(name: str | None) -> str | None:
    from bakehouse.launch.case import load_case

    return load_case(name).name if name is not None else None


def _as_json(settings: "list[Setting]", left_out: "list[LeftOut]") -> str:
    from dataclasses import asdict

    content = {
        "set": [asdict(one) for one in settings],
        "left_out": [asdict(one) for one in left_out],
    }
    return json.dumps(content, indent=1)


def _set(settings: "list[Setting]") -> object:
    from rich.table import Table

    table = Table(title="set", title_justify="left")
    for heading in ("variable", "value", "why"):
        table.add_column(heading, no_wrap=heading != "why", overflow="fold")
    for one in settings:
        table.add_row(one.variable, one.value, one.reason)
    return table


def _left_out(left_out: "list[LeftOut]") -> object:
    from rich.table import Table

    table = Table(title="left out", title_justify="left")
    table.add_column("variable", no_wrap=True)
    table.add_column("why")
    for one in left_out:
        table.add_row(one.variable, one.reason)
    return table
