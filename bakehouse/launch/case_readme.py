"""What READMEs of test cases, and the page about all of them, say from case.yml.

`python -m bakehouse.launch.case_readme` writes it; with `--check` it writes nothing and
ends with status 1 when one is out of date.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from bakehouse import layout
from bakehouse.errors import BakehouseError, CheckError, InputError
from bakehouse.launch.case import Case, Configuration, case_names, load_case
from bakehouse.launch.case_image import has_cuda, image_for

BEGIN = "<!-- BEGIN GENERATED -->"
END = "<!-- END GENERATED -->"
OVERVIEW = layout.ROOT / "docs" / "test-cases.md"
NOTICE = "<!-- Generated from case.yml by `python -m bakehouse.launch.case_readme`. -->"


def table(case: Case) -> str:
    """What a test case's description says, as Markdown: facts, how to launch it, figures."""
    facts = [f"| {what} | {_in_cell(value)} |" for what, value in _facts(case)]
    rows = [_row(case, name, one) for name, one in case.configurations.items()]
    return "\n".join(
        [
            *("| what | value |", "|---|---|", *facts, ""),
            *("| configuration | what | runs on | meant for |", "|---|---|---|---|", *rows, ""),
            *("## How to launch it", "", "```console", *_commands(case), "```", ""),
            *("## Expected figures", "", *_figures(case)),
        ]
    )


def _commands(case: Case) -> Iterator[str]:
    """A command for each launcher, with the first configuration that is meant for a cluster."""
    meant = [name for name, one in case.configurations.items() if one.instance]
    name = meant[0] if meant else case.default_configuration
    one = case.configurations[name]
    options = f"--model {name} --nodes {one.nodes or case.resources.nodes}"
    options += f" --instance {one.instance}" if one.instance else ""
    if image_for(case.name, gpus=False) is not None:
        yield f"bakehouse build case/{case.name}"
    for_gpus = _image_for_gpus(case)
    if for_gpus:
        yield f"bakehouse build {for_gpus}    # for instances with GPUs"
    for launcher in case.launchers:
        run = f"bakehouse run {case.name}"
        if launcher == "docker":
            yield f"{run}    # containers of this machine"
            continue
        yield f"{run} --on {launcher} {options} --dry-run    # what would be submitted"
        yield f"{run} --on {launcher} {options}"


def _image_for_gpus(case: Case) -> str | None:
    image = image_for(case.name, gpus=True)
    return image.name if image and has_cuda(image) else None


def _figures(case: Case) -> Iterator[str]:
    figures = [(name, e) for name, one in case.configurations.items() for e in one.expected]
    if not figures:
        yield "None: nobody has reported figures of these configurations that could be compared."
        return
    yield "Reported by others, and not measured by us:"
    yield ""
    yield "| configuration | figure | on | source |"
    yield "|---|---|---|---|"
    for name, one in figures:
        cells = (f"`{name}`", _in_cell(one.figure), _in_cell(one.on), f"<{one.source}>")
        yield f"| {' | '.join(cells)} |"


def _facts(case: Case) -> Iterator[tuple[str, str]]:
    resources, checks, data = case.resources, case.checks, case.dataset
    real = "real" if data.real else "generated"
    yield "base image", f"`{case.base}`"
    yield "stack", f"`{case.stack}`"
    for_gpus = _image_for_gpus(case)
    if for_gpus:
        yield "image for GPUs", f"`{for_gpus}`"
    yield "entry point", f"`{case.entry_point}`"
    yield "parallelism", f"{case.parallelism.strategy} over {case.parallelism.backend}"
    yield "data", f"{data.name} ({real}): {data.samples} samples, {data.held_out} held out"
    yield "data come from", data.source
    yield "licence of the data", data.licence
    yield "launchers", ", ".join(case.launchers)
    yield "seen here", f"{case.status.how}: {case.status.about}"
    yield "nodes x processes", f"{resources.nodes} x {resources.processes_per_node}"
    yield "threads of a process", str(resources.threads_per_process)
    yield "memory of a process", f"{resources.memory_gib_per_process:g} GiB"
    if checks.accuracy is not None:
        yield "promised accuracy", f"at least {checks.accuracy:g} on the held-out samples"
    if checks.loss is not None:
        yield "promised loss", f"at most {checks.loss:g} on the held-out samples"
    yield "promised processes", str(checks.world_size)
    yield "promised resume", _resume(checks.resume)


def _resume(promise: str | float | None) -> str:
    if promise is None:
        return "none"
    if isinstance(promise, str):
        return promise
    return f"the losses of an unbroken run, within {promise:g} of their value"


def _row(case: Case, name: str, one: Configuration) -> str:
    default = " (default)" if name == case.default_configuration else ""
    splits = one.splits.model_dump()
    cut = ", ".join(f"{axis} {size}" for axis, size in splits.items() if size > 1)
    nodes = f"{one.nodes} x " if one.nodes else ""
    meant = f"{nodes}{one.instance}" if one.instance else "any machine"
    about = one.about + (f" ({cut})" if cut else "")
    return f"| `{name}`{default} | {_in_cell(about)} | {one.device} | {meant} |"


def overview(cases: Iterable[Case]) -> str:
    """All test cases as Markdown, for the page about them."""
    lines = ["| test case | what | parallelism | seen here |", "|---|---|---|---|"]
    for case in cases:
        link = f"[`{case.name}`](../containers/{case.name}/README.md)"
        seen = _in_cell(f"{case.status.how}: {case.status.about}")
        lines.append(f"| {link} | {_in_cell(case.title)} | {case.parallelism.strategy} | {seen} |")
    return "\n".join(lines)


def render(page: Path, generated: str) -> str:
    """A page with its generated part as it should be now.

    Raises:
        InputError: The page is missing, or the markers for the part are.
    """
    if not page.is_file():
        raise InputError("the file is missing", where=str(page), remedy="write it")
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(
            "there is no place for the table",
            where=str(page),
            remedy=f"add a line `{BEGIN}` and below it a line `{END}`",
        )
    return f"{before}{BEGIN}\n{NOTICE}\n\n{generated}\n{END}{after}"


def outdated() -> dict[Path, str]:
    """Pages that are not as they should be, with their right content.

    Raises:
        InputError: As `render` and `load_case`.
    """
    cases = [load_case(name) for name in case_names()]
    generated = {layout.CONTAINERS / case.name / "README.md": table(case) for case in cases}
    generated[OVERVIEW] = overview(cases)
    wanted = {page: render(page, part) for page, part in generated.items()}
    return {page: text for page, text in wanted.items() if page.read_text(encoding="utf-8") != text}


def main(arguments: list[str]) -> None:
    """Write the tables, or with `--check` only compare them.

    Raises:
        CheckError: A table is out of date.
    """
    stale = outdated()
    if "--check" in arguments and stale:
        raise CheckError(
            f"out of date: {', '.join(map(str, stale))}",
            remedy="run `python -m bakehouse.launch.case_readme`",
        )
    for readme, text in stale.items():
        readme.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {readme}\n")


def _in_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BakehouseError as error:
        sys.exit(f"error: {error}")
