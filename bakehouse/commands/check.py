"""`bakehouse check`."""

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Annotated

import typer

from bakehouse.console import progress, results
from bakehouse.errors import CheckError, InputError

if TYPE_CHECKING:
    from bakehouse.checks.result import Result

HELP = """
Compare an image, or this machine, with what was promised.

An image is started; the host tests of its roles and its own checks run in it; its training run, if
there is one, is judged. Results go to `out/<image>/`: report.html, report.json, report.xml, SBOMs,
signed provenance.

Examples:

    bakehouse check cpu-ddp

    bakehouse check node --group node --json

    bakehouse check cpu-ddp --verify-provenance

Exit status: 0 nothing failed; 1 a check failed; 2 wrong input; 3 the image is not built.
"""
ORDER = ("fail", "warn", "pass", "skip")
SCENARIO_ONLY = "in the molecule scenario only"
"""Tests skipped for this are about the scenario; on an image they would only fill the table."""
STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""

    @application.command(name="check", help=HELP)
    def check_command(
        image: Annotated[
            str, typer.Argument(help="Image, or `node` for this machine.", autocompletion=_images)
        ],
        group: Annotated[
            list[str] | None, typer.Option(help="With `node`: only this group of checks.")
        ] = None,
        if_changed: Annotated[
            bool, typer.Option("--if-changed", help="Keep a good report of the same image and run.")
        ] = False,
        keep: Annotated[
            bool, typer.Option("--keep", help="Leave the containers for a look at them.")
        ] = False,
        verify_provenance: Annotated[
            bool, typer.Option("--verify-provenance", help="Only verify signature and files.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Results as JSON.")] = False,
    ) -> None:
        from bakehouse.checks.result import Result

        if group and image != "node":
            raise InputError(
                "an image is judged by the groups that images.yml gives it",
                where="--group",
                remedy="leave out --group, or judge this machine: bakehouse check node",
            )
        if verify_provenance:
            _verify(image)
            return
        if image == "node":
            from bakehouse.judge import node_results

            found, where = node_results(group or []), "this machine"
        else:
            from bakehouse import judge, layout

            last = judge.unchanged(image) if if_changed else None
            if last is not None:
                progress.print(f"[bold]{image}[/bold] unchanged since its last report")
                found = [Result(**result) for result in last["results"]]
            else:
                found = judge.judge(image, keep=keep).results
            where = str(layout.OUT / image / "report.html")
        if as_json:
            typer.echo(json.dumps([result.as_json() for result in found], indent=1))
        else:
            _show(image, found)
            progress.print(f"report: {where}", highlight=False)
        failed = [result.id for result in found if result.status == "fail"]
        if failed:
            raise CheckError(
                f"{len(failed)} checks failed: {', '.join(failed)}", where=where,
                remedy="the table says what to do for each",
            )  # fmt: skip


def _images(incomplete: str) -> list[str]:
    from bakehouse.images import load_images

    names = [name for name, image in load_images().items() if image.kind != "rootfs"]
    return [name for name in [*names, "node"] if name.startswith(incomplete)]


def _verify(image: str) -> None:
    from bakehouse import layout
    from bakehouse.images import get_image
    from bakehouse.report.provenance import verify

    folder = layout.OUT / get_image(image).name
    for name in ("provenance.json", "provenance.pub"):
        if not (folder / name).is_file():
            raise InputError(
                f"{image} has no provenance yet",
                where=str(folder / name),
                remedy=f"bakehouse check {image}",
            )
    content = verify(folder / "provenance.json", folder / "provenance.pub")
    results.print(f"{image}: signed, and {len(content['subject']) - 1} files are what was signed")


def _show(image: str, found: "list[Result]") -> None:
    """What failed first; host tests that passed and whatever was skipped in one line each."""
    from rich.markup import escape
    from rich.table import Table

    from bakehouse.checks.result import STATUSES, counts

    table = Table(title=image, title_justify="left", box=None, pad_edge=False)
    for heading in ("", "group", "check", "measured"):
        table.add_column(heading, overflow="fold")
    passed, skipped = Counter[str](), defaultdict[tuple[str, str], list[str]](list)
    for result in sorted(found, key=lambda result: ORDER.index(result.status)):
        if result.status == "skip":
            skipped[result.group, result.reason].append(result.id)
        elif result.group == "host" and result.status == "pass":
            passed[result.source] += 1
        else:
            detail = "" if result.measured is None else str(result.measured)
            detail += f" ({result.reason})" if result.reason else ""
            if result.status in {"fail", "warn"} and result.remedy:
                detail += f"\n→ {result.remedy}"
            style = STYLES[result.status]
            row = (result.group, escape(result.id), escape(detail.strip()))
            table.add_row(f"[{style}]{result.status}[/]", *row)
    for source, number in passed.items():
        table.add_row("[green]pass[/]", "host", source.rpartition("/")[2], _many(number, "host"))
    apart = 0
    for (group, reason), names in skipped.items():
        if SCENARIO_ONLY in reason:
            apart += len(names)
            continue
        what = escape(names[0]) if len(names) == 1 else _many(len(names), group)
        table.add_row("[dim]skip[/]", group, what, escape(reason))
    results.print(table)
    total = counts(found)
    note = f" ({apart} of them are about molecule's scenarios)" if apart else ""
    results.print(", ".join(f"{total[status]} {status}" for status in STATUSES) + note)


def _many(number: int, group: str) -> str:
    noun = "test" if group == "host" else "check"
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
