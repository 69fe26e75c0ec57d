"""The wheels of a bundle, as an index that pip can ask (PEP 503); also a plain folder of files."""

import html
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from packaging.utils import canonicalize_version, parse_wheel_filename

from bakehouse.builder import wheelhouse
from bakehouse.builder.context import link
from bakehouse.builder.wheelhouse import Interpreter
from bakehouse.stacks import download
from bakehouse.stacks.stack import Stack

WHEELS, INDEX = "wheels", "simple"
CONTROLLER = "the builder's Ansible"
_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>\n{links}\n</body></html>\n"
)


def add(
    folder: Path, stack: Stack, interpreters: Iterable[Interpreter], case_records: Iterable[str]
) -> dict[str, set[str]]:
    """Bring the wheels of a stack and of the builder's Ansible into a bundle, with their index.

    Args:
        folder: The bundle.
        stack: Whose records roles take.
        interpreters: Pythons that the wheels must fit.
        case_records: The records of test cases that are wanted as well.

    Returns:
        Every path in the bundle, with who wants it.

    Raises:
        DownloadError: A wheel cannot be had, or is not what its record promises.
    """
    pins = {(name, canonicalize_version(v)): c for c, _, name, v in stack.python_pins()}
    wanted: dict[str, set[str]] = defaultdict(set)
    (folder / WHEELS).mkdir(parents=True, exist_ok=True)
    for python in interpreters:
        sources = [wheelhouse.prepare(stack, python), wheelhouse.prepare_controller(python)]
        sources += [wheelhouse.prepare(stack, python, case_record=name) for name in case_records]
        for source in sources:
            for wheel in sorted(source.glob("*.whl")):
                name, version, *_ = parse_wheel_filename(wheel.name)
                owner = pins.get((name, canonicalize_version(version)), CONTROLLER)
                place = f"{WHEELS}/{wheel.name}"
                _bring(wheel, folder / place)
                wanted[place].add(CONTROLLER if "controller" in source.name else owner)
    return {**wanted, **_write_index(folder, wanted)}


def _bring(wheel: Path, target: Path) -> None:
    if target.is_file() and download.digest(target) == download.digest(wheel):
        return
    target.unlink(missing_ok=True)
    link(wheel, target)


def _write_index(folder: Path, wanted: dict[str, set[str]]) -> dict[str, set[str]]:
    by_name: dict[str, list[Path]] = defaultdict(list)
    for place in sorted(wanted):
        by_name[parse_wheel_filename(Path(place).name)[0]].append(folder / place)
    pages = {f"{INDEX}/index.html": _page("wheels", [(f"{name}/", name) for name in by_name])}
    for name, files in by_name.items():
        links = [
            (f"../../{WHEELS}/{quote(file.name)}#sha256={download.digest(file)}", file.name)
            for file in files
        ]
        pages[f"{INDEX}/{name}/index.html"] = _page(name, links)
    for place, text in pages.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return {place: {"pip"} for place in pages}


def _page(title: str, links: list[tuple[str, str]]) -> str:
    lines = [f'<a href="{html.escape(to)}">{html.escape(text)}</a><br>' for to, text in links]
    return _PAGE.format(title=html.escape(title), links="\n".join(lines))
