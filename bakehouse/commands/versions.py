"""`bakehouse versions`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakehouse.console import progress, results
from bakehouse.errors import CheckError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bakehouse.versions.comparison import Group, Judged, Verdict
    from bakehouse.versions.components import Promises
    from bakehouse.versions.reach import Answer
    from bakehouse.versions.targets import Target

HELP = """
Say which versions images and machines really have, side by side with a stack.

A target is `localhost`, an image of images.yml or any other (`docker://IMAGE`, or a name with a
tag), or a host: HOST, USER@HOST, `ssh://USER@HOST:PORT`. It needs nothing but Python 3.9. What a
target has is compared with the stack that its image names, or with `--stack`. Of many targets,
those with the same versions are shown once, and those that differ are named.

Examples:

    bakehouse versions localhost

    bakehouse versions cpu docker://nvcr.example/pytorch:26.10 --stack gpu-cuda13

    bakehouse versions ssh://ubuntu@node7:2222 node8 --ssh-option IdentityFile=cluster.pem

    sinfo -h -N -o %N | sort -u | bakehouse versions --hosts - --stack gpu-cuda13

    bakehouse versions --hosts nodes.txt --json | jq '.groups[1:]'

Exit status: 0 every target answers and has what its stack promises; 1 drift, or a target gives no
answer; 2 wrong input; 3 the only target is an image that is not built.
"""
WIDEST = 4
"""So many groups are columns of one table; with more, the largest is, and the others are told."""
NAMED = 6
MARKS = {
    "agrees": ("green", ""),
    "drift": ("bold red", "drift: "),
    "missing": ("bold red", "missing"),
    "unclear": ("yellow", "unclear"),
    "present": ("", ""),
    "absent": ("dim", "–"),
}


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""

    @application.command(name="versions", help=HELP)
    def versions_command(
        names: Annotated[
            list[str] | None,
            typer.Argument(metavar="[TARGET]...", help="What to ask.", autocompletion=_images),
        ] = None,
        hosts: Annotated[
            str | None, typer.Option(help="File with one host a line; `-`: standard input.")
        ] = None,
        stack: Annotated[
            str | None, typer.Option(help="Compare with this stack.", autocompletion=_stacks)
        ] = None,
        strict: Annotated[
            bool, typer.Option("--strict", help="What the stack names and is not there is drift.")
        ] = False,
        parallel: Annotated[int, typer.Option(min=1, help="Targets asked at once.")] = 64,
        timeout: Annotated[float, typer.Option(min=3, help="Seconds for one target.")] = 30.0,
        ssh_option: Annotated[
            list[str] | None, typer.Option(help="As `ssh -o`: Port=2222. Repeatable.")
        ] = None,
        ssh_program: Annotated[
            str, typer.Option(help="What to start instead of ssh.", envvar="BAKEHOUSE_SSH")
        ] = "ssh",
        as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
    ) -> None:
        from bakehouse.versions import comparison
        from bakehouse.versions.reach import Way
        from bakehouse.versions.survey import survey

        promises = _promises(stack)
        targets = _targets(names or [], hosts)
        way = Way(timeout_s=timeout, ssh=ssh_program, ssh_options=tuple(ssh_option or []))
        with _told(len(targets)) as tell:
            answers = survey(targets, way, parallel, tell)
        if len(answers) == 1 and answers[0].error is not None:
            raise _only(answers[0])
        judged = [comparison.judge(answer, promises, strict=strict) for answer in answers]
        groups = comparison.group(judged)
        if as_json:
            import json

            typer.echo(json.dumps(comparison.as_json(judged, groups), indent=1))
        else:
            _show(groups, [each for each in judged if each.answer.content is None])
        _refuse(judged)


def _images(incomplete: str) -> list[str]:
    from bakehouse.images import load_images

    return [name for name in [*load_images(), "localhost"] if name.startswith(incomplete)]


def _stacks(incomplete: str) -> list[str]:
    from bakehouse.stacks.stack import stack_names

    return [name for name in stack_names() if name.startswith(incomplete)]


def _promises(stack: str | None) -> "Callable[[dict[str, Any]], Promises | None]":
    from bakehouse.versions import promises

    if stack is None:
        return promises.of_identity
    chosen = promises.of_stack(stack)
    return lambda _identity: chosen


def _targets(names: list[str], hosts: str | None) -> "list[Target]":
    from bakehouse.images import load_images
    from bakehouse.versions import targets

    known = {name: f"{image.repository}:latest" for name, image in load_images().items()}
    found = [targets.parse(name, known) for name in names]
    if hosts is not None:
        where = "standard input" if hosts == "-" else hosts
        try:
            text = sys.stdin.read() if hosts == "-" else Path(hosts).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            remedy = "give a text file with one host a line"
            raise InputError(
                f"it cannot be read: {error}", where=f"--hosts {hosts}", remedy=remedy
            ) from error
        found += targets.parse_hosts(text, where)
    if not found:
        remedy = "name one: bakehouse versions localhost; or give --hosts"
        raise InputError("there is nothing to ask", remedy=remedy)
    return found


@contextmanager
def _told(total: int) -> "Iterator[Callable[[Answer], None]]":
    """Whom to tell of an answer: a count for people, nothing where nobody looks on."""
    if not progress.is_terminal or total == 1:
        yield lambda _answer: None
        return
    got = silent = 0
    with progress.status(f"0 of {total}") as status:

        def tell(answer: "Answer") -> None:
            nonlocal got, silent
            got, silent = got + 1, silent + (answer.content is None)
            status.update(f"{got} of {total}" + (f", {silent} gave no answer" if silent else ""))

        yield tell


def _only(answer: "Answer") -> Exception:
    """The failure of the only target, with the status that fits it."""
    error = answer.error
    assert error is not None
    error.where = error.where or answer.target.name
    if answer.target.kind == "image" and "there is no image" in error.what:
        error.remedy = f"bakehouse build {answer.target.name}, or pull it"
    return error


def _refuse(judged: "Sequence[Judged]") -> None:
    drifted = [each for each in judged if each.bad]
    silent = [each.name for each in judged if each.answer.content is None]
    told = []
    if drifted:
        names = ", ".join(dict.fromkeys(name for each in drifted for name in each.bad))
        told.append(f"{_folded([each.name for each in drifted])}: not as the stack says: {names}")
    if silent:
        told.append(f"no answer from {_folded(silent)}")
    if told:
        remedy = "bake the image again or upgrade the machine; or bump the stack, if it is right so"
        raise CheckError("; ".join(told), remedy=remedy if drifted else "see the reasons above")


def _show(groups: "Sequence[Group]", silent: "Sequence[Judged]") -> None:
    """A table for each stack, then who differs from most, then who did not answer."""
    from bakehouse.versions.comparison import differences
    from bakehouse.versions.components import COMPONENTS

    for stack in dict.fromkeys(one.members[0].stack for one in groups):
        own = [one for one in groups if one.members[0].stack == stack]
        _table(stack, own if len(own) <= WIDEST else own[:1])
        for one in own[1:]:
            told = ", ".join(
                f"{COMPONENTS[name].title} {version or _word(one.verdicts[name])} "
                f"(most: {most or _word(own[0].verdicts[name])})"
                for name, (version, most) in differences(one, own[0]).items()
            )
            results.print(f"differs: {', '.join(one.names)}: {told}", markup=False, highlight=False)
    for each in silent:
        error = each.answer.error
        why = str(error.what if error else "no answer")
        results.print(f"no answer: {each.name}: {why}", markup=False, highlight=False)


def _table(stack: str | None, groups: "Sequence[Group]") -> None:
    from rich.markup import escape
    from rich.table import Table

    from bakehouse.versions.components import COMPONENTS

    table = Table(box=None, pad_edge=False)
    table.add_column("component", overflow="fold")
    if stack is not None:
        table.add_column(escape(f"stack {stack}"), overflow="fold")
    for one in groups:
        table.add_column(escape(_folded(one.names)), overflow="fold")
    nowhere: dict[str, str | None] = {}
    problems = []
    for name, component in COMPONENTS.items():
        verdicts = [one.verdicts[name] for one in groups]
        expected = verdicts[0].expected
        if all(verdict.status == "absent" for verdict in verdicts):
            nowhere[component.title] = expected
            continue
        stack_cell = [escape(expected or "")] if stack is not None else []
        table.add_row(component.title, *stack_cell, *map(_cell, verdicts))
        for one, verdict in zip(groups, verdicts, strict=True):
            told = verdict.problems + (_places(verdict) if verdict.status == "drift" else [])
            problems += [f"{_folded(one.names)}: {component.title}: {text}" for text in told]
    results.print(table)
    for text in problems:
        results.print(f"note: {text}", markup=False, highlight=False)
    if nowhere:
        results.print(f"[dim]not there: {escape(_nowhere(nowhere))}[/]", highlight=False)


def _nowhere(absent: "dict[str, str | None]") -> str:
    """What the stack names and is not there; what it does not name only as a number."""
    named = [f"{title} (stack: {expected})" for title, expected in absent.items() if expected]
    others = len(absent) - len(named)
    if not named:
        return f"{others} others"
    return ", ".join(named) + (f", {others} others" if others else "")


def _cell(verdict: "Verdict") -> str:
    from rich.markup import escape

    style, mark = MARKS[verdict.status]
    text = f"{mark}{escape(verdict.version or '')}"
    return f"[{style}]{text}[/]" if style else text


def _word(verdict: "Verdict") -> str:
    return {"absent": "not there"}.get(verdict.status, verdict.status)


def _places(verdict: "Verdict") -> list[str]:
    told = ", ".join(f"{each['version']} at {each['where']}" for each in verdict.found)
    return [f"{told}; the stack says {verdict.expected}"]


def _folded(names: Sequence[str]) -> str:
    """A few names as they are; of many the first, the last and the number."""
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{names[0]} … {names[-1]} ({len(names)})"
