"""The only reader and writer of YAML files: plain data, with the line of every key for messages."""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakehouse import layout
from bakehouse.errors import InputError

LARGEST_DOCUMENT_BYTES = 1 << 20

Keys = tuple[str | int, ...]

_CACHE_FORMAT = "3"


@dataclass(frozen=True, kw_only=True)
class Document:
    """A YAML file as plain data.

    Attributes:
        path: The file.
        data: dicts, lists and scalars; dates are texts.
        lines: Line number (from 1) of each key path.
    """

    path: Path
    data: dict[str, Any]
    lines: dict[Keys, int]

    def position(self, keys: Iterable[str | int]) -> int:
        """Line of a key path, or of its nearest ancestor that has one."""
        path = tuple(keys)
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def where(self, keys: Iterable[str | int]) -> str:
        """`path:line: key`, for error messages."""
        path = tuple(keys)
        dotted = ".".join(str(key) for key in path)
        return f"{self.path}:{self.position(path)}" + (f": {dotted}" if dotted else "")


def load(path: Path) -> Document:
    """Read one YAML mapping.

    Raises:
        InputError: The file is missing, too large, empty, not YAML, not a mapping, has a duplicated
            key, or uses what can explode or be misread (see `plain_yaml`).
    """
    return from_text(path, text(path))


def from_text(path: Path, content: str) -> Document:
    """As `load`, of a text that is, or will be, the content of a file.

    Raises:
        InputError: As `load`.
    """
    data, lines = _parsed(path, content)
    if not isinstance(data, dict):
        raise InputError(
            "the file does not hold a mapping (key: value)",
            where=f"{path}:1",
            remedy="start with a key",
        )
    return Document(path=path, data=data, lines=lines)


def load_list(path: Path) -> list[Any]:
    """Read one YAML list, such as a playbook.

    Raises:
        InputError: As `load`, or the file holds no list.
    """
    data, _ = _parsed(path, text(path))
    if not isinstance(data, list):
        raise InputError(
            "the file does not hold a list", where=f"{path}:1", remedy="start with `- `"
        )
    return data


def replace(path: Path, *, before: str, after: str) -> None:
    """Give a file a new text, all or nothing.

    Raises:
        InputError: Somebody else has changed the file since it was read, the new text is not what
            we accept, or the file cannot be written.
    """
    from_text(path, after)
    if text(path) != before:
        raise InputError(
            "the file was changed while we worked on it",
            where=str(path),
            remedy="run the command again",
        )
    try:
        _replace(path, after)
    except OSError as error:
        raise InputError(
            f"the file cannot be written: {error.strerror}",
            where=str(path),
            remedy="see to the permissions of its folder",
        ) from error


def text(path: Path) -> str:
    """Text of a file.

    Raises:
        InputError: It is missing, too large, unreadable, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_DOCUMENT_BYTES + 1)
        if len(content) > LARGEST_DOCUMENT_BYTES:
            raise InputError(
                f"the file has more than the {LARGEST_DOCUMENT_BYTES} bytes allowed",
                where=str(path),
                remedy="split it; our documents are lists of versions",
            )
        return content.decode("utf-8")
    except FileNotFoundError as error:
        raise InputError(
            "there is no such file", where=str(path), remedy="check the name"
        ) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            "not YAML: not UTF-8 text", where=f"{path}:{line}", remedy="save it as UTF-8"
        ) from error
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror}",
            where=str(path),
            remedy="see to its permissions",
        ) from error


def _parsed(path: Path, content: str) -> tuple[Any, dict[Keys, int]]:
    digest = hashlib.sha256(f"{_CACHE_FORMAT}{content}".encode()).hexdigest()
    kept = _kept(path)
    if kept is not None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            entry = json.loads(kept.read_text(encoding="utf-8"))
            if entry["digest"] == digest:
                return entry["data"], {tuple(keys): line for keys, line in entry["lines"]}
    # Loading the parser costs a tenth of an unchanged build's second.
    from bakehouse.stacks.plain_yaml import PlainYamlError, parse  # noqa: PLC0415

    try:
        parsed = parse(content)
    except PlainYamlError as error:
        where = f"{path}:{error.line}" + (f": {error.key}" if error.key else "")
        raise InputError(error.reason, where=where, remedy=error.remedy) from error
    data, lines = parsed.data, parsed.lines
    if data is None:
        raise InputError("the file is empty", where=f"{path}:1", remedy="write at least one key")
    if kept is not None:
        entry = {"digest": digest, "data": data, "lines": list(lines.items())}
        with suppress(OSError):  # the cache only saves time
            kept.parent.mkdir(parents=True, exist_ok=True)
            _replace(kept, json.dumps(entry))
    return data, lines


def _kept(path: Path) -> Path | None:
    """Where the parsed form of a file of the repository is kept; nothing for other files."""
    with suppress(ValueError):
        # Links inside the repository are left as they are: what they lead to may be outside of it.
        relative = path.absolute().relative_to(layout.ROOT.absolute())
        name = str(relative).replace("-", "--").replace(os.sep, "-")
        return layout.STATE / "documents" / f"{name}.json"
    return None


def _replace(path: Path, content: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(content, encoding="utf-8")
        if path.exists():
            partial.chmod(path.stat().st_mode & 0o7777)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
