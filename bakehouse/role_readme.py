"""The table of variables in each role's README, generated from the role's argument specification.

`python -m bakehouse.role_readme` writes the tables; with `--check` it writes nothing and ends with
status 1 when one is out of date.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bakehouse.errors import CheckError, InputError
from bakehouse.layout import ROLES
from bakehouse.stacks import documents

BEGIN = "<!-- BEGIN GENERATED -->"
END = "<!-- END GENERATED -->"
NOTICE = "<!-- Generated from meta/argument_specs.yml by `python -m bakehouse.role_readme`. -->"


def render(role: Path) -> str:
    """Return the README of a role with its table as the specification has it now.

    Raises:
        InputError: The README or the specification is missing, or the markers are.
    """
    readme = role / "README.md"
    if not readme.is_file():
        raise InputError("there is no such file", where=str(readme), remedy="write two sentences")
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(
            "there is no place for the table of variables",
            where=str(readme),
            remedy=f"add a line `{BEGIN}` and below it a line `{END}`",
        )
    entries = documents.load(role / "meta" / "argument_specs.yml").data["argument_specs"]
    sections = [_section(name, entry) for name, entry in entries.items()]
    body = "\n\n".join([NOTICE, *sections])
    return f"{before}{BEGIN}\n{body}\n{END}{after}"


def outdated(roles: Path) -> list[Path]:
    """Return the READMEs below a folder of roles that differ from what `render` makes of them."""
    return [
        specification.parent.parent / "README.md"
        for specification in sorted(roles.glob("*/meta/argument_specs.yml"))
        if render(specification.parent.parent)
        != (specification.parent.parent / "README.md").read_text(encoding="utf-8")
    ]


def _section(name: str, entry: Mapping[str, Any]) -> str:
    lines = [f"## Entry point `{name}`", "", f"{entry['short_description']}."]
    lines += ["", *_paragraphs(entry.get("description", []))]
    options = entry.get("options", {})
    if options:
        lines += ["", "| variable | type | default | meaning |", "|---|---|---|---|"]
        lines += [line for key, option in options.items() for line in _rows(key, option)]
    return "\n".join(lines)


def _rows(name: str, option: Mapping[str, Any], parent: str = "") -> list[str]:
    """Rows of one option and of its sub-options, each named by its path."""
    path = f"{parent}.{name}" if parent else name
    meaning = " ".join(_paragraphs(option["description"]))
    if "choices" in option:
        meaning += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
    rows = [f"| `{path}` | {_type(option)} | {_default(option)} | {_in_cell(meaning)} |"]
    for key, sub_option in option.get("options", {}).items():
        rows += _rows(key, sub_option, parent=path)
    return rows


def _type(option: Mapping[str, Any]) -> str:
    elements = option.get("elements")
    return f"{option.get('type', 'str')} of {elements}" if elements else option.get("type", "str")


def _default(option: Mapping[str, Any]) -> str:
    if option.get("required"):
        return "*required*"
    if "default" not in option:
        return ""
    value = option["default"]
    return f"`{_in_cell(value if isinstance(value, str) else json.dumps(value))}`"


def _paragraphs(description: str | list[str]) -> list[str]:
    return [description] if isinstance(description, str) else description


def _in_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: list[str]) -> None:
    """Write the tables, or with `--check` only compare them.

    Raises:
        CheckError: A table is out of date.
    """
    stale = outdated(ROLES)
    if "--check" in arguments and stale:
        raise CheckError(
            f"out of date: {', '.join(str(path) for path in stale)}",
            remedy="run `python -m bakehouse.role_readme`",
        )
    for path in stale:
        path.write_text(render(path.parent), encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (CheckError, InputError) as error:
        sys.exit(f"error: {error}")
