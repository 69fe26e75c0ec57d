"""The table in each test case's README, generated from its case.yml.

`python -m bakehouse.launch.case_readme` writes the tables; with `--check` it writes nothing and
ends with status 1 when one is out of date.
"""

import sys
from pathlib import Path

from bakehouse import layout
from bakehouse.errors import BakehouseError, CheckError, InputError
from bakehouse.launch.case import Case, case_names, load_case

BEGIN = "<!-- BEGIN GENERATED -->"
END = "<!-- END GENERATED -->"
NOTICE = "<!-- Generated from case.yml by `python -m bakehouse.launch.case_readme`. -->"


def table(case: Case) -> str:
    """The facts of a test case as Markdown."""
    resources, checks, data = case.resources, case.checks, case.dataset
    real = "real" if data.real else "generated"
    rows = [
        ("base image", f"`{case.base}`"),
        ("stack", f"`{case.stack}`"),
        ("entry point", f"`{case.entry_point}`"),
        ("parallelism", f"{case.parallelism.strategy} over {case.parallelism.backend}"),
        *(
            (f"configuration `{name}`", _with_default(case, name, configuration.about))
            for name, configuration in case.configurations.items()
        ),
        ("data", f"{data.name} ({real}): {data.samples} samples, {data.held_out} held out"),
        ("data come from", data.source),
        ("licence of the data", data.licence),
        ("launchers", ", ".join(case.launchers)),
        ("nodes x processes", f"{resources.nodes} x {resources.processes_per_node}"),
        ("threads of a process", str(resources.threads_per_process)),
        ("memory of a process", f"{resources.memory_gib_per_process:g} GiB"),
        ("promised accuracy", f"at least {checks.accuracy:g} on the held-out samples"),
        ("promised processes", str(checks.world_size)),
        ("promised resume", checks.resume),
    ]
    lines = ["| what | value |", "|---|---|"]
    lines += [f"| {what} | {_in_cell(value)} |" for what, value in rows]
    return "\n".join(lines)


def render(readme: Path, case: Case) -> str:
    """A README with the table as case.yml has it now.

    Raises:
        InputError: The README is missing, or the markers for the table are.
    """
    if not readme.is_file():
        raise InputError("the file is missing", where=str(readme), remedy="write it")
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(
            "there is no place for the table",
            where=str(readme),
            remedy=f"add a line `{BEGIN}` and below it a line `{END}`",
        )
    return f"{before}{BEGIN}\n{NOTICE}\n\n{table(case)}\n{END}{after}"


def outdated() -> dict[Path, str]:
    """READMEs that are not as they should be, with their right content.

    Raises:
        InputError: As `render` and `load_case`.
    """
    readmes = {name: layout.CONTAINERS / name / "README.md" for name in case_names()}
    wanted = {readme: render(readme, load_case(name)) for name, readme in readmes.items()}
    return {
        readme: text
        for readme, text in wanted.items()
        if readme.read_text(encoding="utf-8") != text
    }


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


def _with_default(case: Case, name: str, about: str) -> str:
    return f"{about} (default)" if name == case.default_configuration else about


def _in_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BakehouseError as error:
        sys.exit(f"error: {error}")
