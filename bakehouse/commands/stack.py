"""`bakehouse stack`."""

import datetime
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakehouse.console import progress, results
from bakehouse.errors import InputError
from bakehouse.stacks.stack import Stack, load_stack, stack_names

if TYPE_CHECKING:
    from rich.table import Table

    from bakehouse.stacks.constraints import Finding
    from bakehouse.stacks.download import Policy
    from bakehouse.stacks.editing import Change
    from bakehouse.stacks.lock import Teller

HELP = """Stacks: which versions go together, each with what verifies its download.

Examples:

    bakehouse stack list

    bakehouse stack show cpu --json

    bakehouse stack check gpu-cuda13 --context os=ubuntu24.04 --context gpu_generation=hopper

    bakehouse stack lock cpu --dry-run

    bakehouse stack bump cpu docker_release 20.10.25 --dry-run
"""
LIST_HELP = """List the stacks.

Example:

    bakehouse stack list --json
"""
SHOW_HELP = """Show the records of a stack: version, kind, and what verifies the download.

Examples:

    bakehouse stack show cpu

    bakehouse stack show cpu --json | jq .records.pytorch_release.version
"""
CHECK_HELP = """Evaluate the rules of `stacks/constraints.yml` on stacks, all by default.

A rule that speaks of the machine applies only if `--context` says what the machine is: os, kernel,
gpu_generation, architecture. A pin whose review is due is a warning.

Examples:

    bakehouse stack check

    bakehouse stack check gpu-cuda13 --context os=ubuntu24.04 --context kernel=6.8.0-1015

Exit status: 0 no rule is broken; 2 one is, or a file is wrong.
"""
LOCK_HELP = """Fetch what records point at, verify it, and write digests that are missing.

A digest that is written is never replaced; a file that does not fit it ends the command. Wheels
are asked of the indexes in this machine's pip configuration.

Examples:

    bakehouse stack lock cpu --dry-run

    bakehouse stack lock gpu-cuda13 nvidia_nccl_release

    bakehouse stack lock cpu --mirror https://vendor.example/=http://mirror.internal/vendor/
"""
BUMP_HELP = """Change the version of one record, and with it its addresses and digests.

The old version in an address becomes the new one, and the file there is fetched and hashed. Of a
Python record the whole closure is resolved anew, with as few changes as possible.

Examples:

    bakehouse stack bump cpu docker_release 20.10.25 --dry-run

    bakehouse stack bump gpu-cuda13 nvidia_driver_release 580.95.05

    bakehouse stack bump cpu x_release 2.0 --url https://vendor.example/x-2.tar.gz --sha256 0a1b…

    bakehouse stack bump cpu x_release 2.0 --sha256 x86_64=0a1b… --sha256 aarch64=2c3d…
"""
SCHEMA_HELP = """Write the JSON Schemas of our YAML files to `schemas/`, for editors.

Examples:

    bakehouse stack schema

    bakehouse stack schema --check      # writes nothing; exit status 1 if one is out of date
"""

Json = Annotated[bool, typer.Option("--json", help="Result as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the change; write nothing.")]
Mirror = Annotated[
    list[str],
    typer.Option(
        help="PREFIX=OTHER: fetch from another place. Repeatable.", envvar="BAKEHOUSE_MIRRORS"
    ),
]


def register(application: typer.Typer) -> None:
    """Add this command group to the command line."""
    group = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="markdown")
    group.command(name="list", help=LIST_HELP)(list_stacks)
    group.command(name="show", help=SHOW_HELP)(show)
    group.command(name="check", help=CHECK_HELP)(check)
    group.command(name="lock", help=LOCK_HELP)(lock)
    group.command(name="bump", help=BUMP_HELP)(bump)
    group.command(name="schema", help=SCHEMA_HELP)(schema)
    application.add_typer(group, name="stack")


def _names(incomplete: str) -> list[str]:
    return [name for name in stack_names() if name.startswith(incomplete)]


def _components(context: typer.Context, incomplete: str) -> list[str]:
    names = load_stack(context.params["name"]).records
    return [name for name in names if name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(help="Stack.", autocompletion=_names)]


def list_stacks(as_json: Json = False) -> None:
    """Print the stacks."""
    stacks = [load_stack(name) for name in stack_names()]
    if as_json:
        results.print_json(
            data=[
                {"name": s.name, "digest": s.digest, "path": str(s.path), "versions": s.versions}
                for s in stacks
            ]
        )
        return
    table = _table("stack", "records", "digest", "file")
    for stack in stacks:
        table.add_row(stack.name, str(len(stack.records)), stack.digest[:12], str(stack.path))
    results.print(table)


def show(name: Name, as_json: Json = False) -> None:
    """Print the records of a stack."""
    from bakehouse.stacks.description import how_verified
    from bakehouse.stacks.records import kind_name

    stack = load_stack(name)
    if as_json:
        results.print_json(
            data={
                "name": stack.name,
                "digest": stack.digest,
                "path": str(stack.path),
                "records": {
                    component: {"kind": kind_name(record), **stack.variables[component]}
                    for component, record in stack.records.items()
                },
            }
        )
        return
    table = _table("component", "version", "kind", "verified by", "pinned until")
    for component, record in stack.records.items():
        pinned = str(record.pin.review_by) if record.pin else ""
        row = (component, record.version, kind_name(record), how_verified(record), pinned)
        table.add_row(*row)
    results.print(table)


def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Stacks; all by default.", autocompletion=_names)
    ] = None,
    context: Annotated[
        list[str] | None, typer.Option(help="What is known of the machine: os=ubuntu24.04.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Evaluate the rules; InputError if one is broken."""
    from bakehouse.stacks import constraints

    known = dict(_pair("--context", text) for text in context or [])
    stacks = [load_stack(name) for name in names or stack_names()]
    rules = constraints.load_rules()
    findings = {stack.name: constraints.check(stack, known, rules) for stack in stacks}
    pins = {stack.name: _overdue(stack) for stack in stacks}
    if as_json:
        results.print_json(
            data=[
                {"stack": name, "rules": [f.as_json() for f in found], "overdue_pins": pins[name]}
                for name, found in findings.items()
            ]
        )
    else:
        for name, found in findings.items():
            results.print(_findings(name, found))
    for name, overdue in pins.items():
        for pin in overdue:
            progress.print(
                f"warning: {name}: the review of {pin['record']}'s pin was due on "
                f"{pin['review_by']}: {pin['reason']} ({pin['link']})",
                markup=False,
                style="yellow",
            )
    _refuse(stacks, findings)


def lock(
    name: Name,
    components: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RECORD]...", help="All by default.", autocompletion=_components),
    ] = None,
    dry_run: DryRun = False,
    mirror: Mirror = [],  # noqa: B006  typer makes a new list
    as_json: Json = False,
) -> None:
    """Verify what records point at; write missing digests."""
    from bakehouse.stacks.lock import lock as lock_stack

    with _told(mirror) as (policy, tell):
        change = lock_stack(name, components or [], policy=policy, tell=tell)
    _finish(change, dry_run=dry_run, as_json=as_json, details={"stack": name})


def bump(
    name: Name,
    component: Annotated[
        str, typer.Argument(metavar="RECORD", help="Its key.", autocompletion=_components)
    ],
    version: Annotated[str, typer.Argument(help="The new version.")],
    url: Annotated[
        list[str] | None, typer.Option(help="New address; for one architecture: aarch64=URL.")
    ] = None,
    sha256: Annotated[
        list[str] | None, typer.Option(help="Digest; nothing is fetched then. aarch64=DIGEST.")
    ] = None,
    allow_broken: Annotated[
        bool, typer.Option("--allow-broken", help="Even if the stack then breaks a rule.")
    ] = False,
    unpin: Annotated[bool, typer.Option("--unpin", help="Remove the record's pin.")] = False,
    dry_run: DryRun = False,
    mirror: Mirror = [],  # noqa: B006  as above
    as_json: Json = False,
) -> None:
    """Change the version of one record."""
    from bakehouse.stacks.bump import Request, parse_by_architecture
    from bakehouse.stacks.bump import bump as bump_stack

    request = Request(
        stack=name,
        component=component,
        version=version,
        urls=parse_by_architecture("--url", url or []),
        digests=parse_by_architecture("--sha256", sha256 or []),
        allow_broken=allow_broken,
        unpin=unpin,
    )
    with _told(mirror) as (policy, tell):
        change = bump_stack(request, policy=policy, tell=tell)
    details = {"stack": name, "record": component, "version": version}
    _finish(change, dry_run=dry_run, as_json=as_json, details=details)


def schema(
    check_only: Annotated[bool, typer.Option("--check", help="Only compare.")] = False,
    as_json: Json = False,
) -> None:
    """Write or compare the JSON Schemas."""
    from bakehouse.errors import CheckError
    from bakehouse.stacks import schema as schemas

    stale = schemas.outdated() if check_only else schemas.write()
    if as_json:
        results.print_json(data={"outdated": [str(path) for path in stale]})
    elif not check_only:
        for path in stale:
            results.print(f"wrote {path}", markup=False, highlight=False)
    if check_only and stale:
        raise CheckError(
            f"out of date: {', '.join(path.name for path in stale)}",
            where=str(schemas.SCHEMAS),
            remedy="run `bakehouse stack schema`",
        )


def _finish(change: "Change", *, dry_run: bool, as_json: bool, details: dict[str, Any]) -> None:
    if not dry_run:
        change.write()
    if as_json:
        results.print_json(
            data={
                **details,
                "path": str(change.path),
                "notes": change.notes,
                "diff": change.diff,
                "written": not dry_run and bool(change.diff),
            }
        )
        return
    for note in change.notes:
        progress.print(note, markup=False)
    if change.diff:
        results.print(change.diff, markup=False, highlight=False, end="")
    told = "nothing to change" if not change.diff else "nothing written (--dry-run)"
    if dry_run or not change.diff:
        progress.print(told)


def _refuse(stacks: list[Stack], findings: "dict[str, list[Finding]]") -> None:
    from bakehouse.stacks.constraints import broken, told

    found = [(stack, finding) for stack in stacks for finding in broken(findings[stack.name])]
    if found:
        lines = "\n".join(told(stack, [finding]) for stack, finding in found)
        stack, first = found[0]
        raise InputError(
            f"{len(found)} rule(s) broken:\n{lines}",
            where=stack.document.where(first.keys(stack)),
            remedy="\n          ".join(dict.fromkeys(f.satisfying for _, f in found)),
        )


def _findings(name: str, findings: "Iterable[Finding]") -> "Table":
    table = _table("rule", "status", "")
    table.title, table.title_justify = name, "left"
    for finding in findings:
        if finding.status == "broken":
            told = (
                f"{finding.message}\nwhy: {finding.rule.reason}\nsource: {finding.rule.source}\n"
                f"would satisfy it: {finding.satisfying}"
            )
            table.add_row(finding.rule.id, "[bold red]broken[/]", told)
        else:
            status = "[green]holds[/]" if finding.status == "holds" else "[dim]does not apply[/]"
            table.add_row(finding.rule.id, status, finding.rule.title)
    return table


def _overdue(stack: Stack) -> list[dict[str, str]]:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return [
        {
            "record": component,
            "review_by": str(record.pin.review_by),
            "reason": record.pin.reason,
            "link": record.pin.link,
        }
        for component, record in stack.records.items()
        if record.pin is not None and record.pin.review_by < today
    ]


def _pair(option: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise InputError("this is not NAME=VALUE", where=f"{option} {text}", remedy="write a=b")
    return name, value


@contextmanager
def _told(mirrors: list[str]) -> "Iterator[tuple[Policy, Teller]]":
    """How to download, and whom to tell: a spinner for people, a line each for a log."""
    from bakehouse.stacks.download import Policy

    prefixes = dict(_pair("--mirror", text) for text in mirrors)
    if not progress.is_terminal:
        yield Policy(mirrors=prefixes), lambda text: progress.print(text, markup=False)
        return
    present = ""
    with progress.status("…") as status:

        def tell(text: str) -> None:
            nonlocal present
            present = text.replace("[", "\\[")
            status.update(present)

        def watch(received: int, total: int | None) -> None:
            of = f" of {total / 1e6:.0f}" if total else ""
            status.update(f"{present}  {received / 1e6:.0f}{of} MB")

        yield Policy(mirrors=prefixes, watcher=watch), tell


def _table(*headings: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
