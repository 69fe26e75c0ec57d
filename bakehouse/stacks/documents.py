"""The only reader and writer of YAML files: plain data, with the line of every key for messages."""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from bakehouse import layout
from bakehouse.errors import InputError

LARGEST_DOCUMENT_BYTES = 1 << 20

Keys = tuple[str | int, ...]

_CACHE_FORMAT = "1"


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
    return from_text(path, _text(path))


def from_text(path: Path, text: str) -> Document:
    """As `load`, of a text that is, or will be, the content of a file.

    Raises:
        InputError: As `load`.
    """
    data, lines = _parsed(path, text)
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
    data, _ = _parsed(path, _text(path))
    if not isinstance(data, list):
        raise InputError(
            "the file does not hold a list", where=f"{path}:1", remedy="start with `- `"
        )
    return data


class Editor:
    """A YAML file under change: comments, order and quotes stay as they are.

    Attributes:
        path: The file.
        before: Its present text.
        data: Its content, to be changed in place.
    """

    def __init__(self, path: Path) -> None:
        """Read a file.

        Raises:
            InputError: As `load`.
        """
        from ruamel.yaml import YAML  # noqa: PLC0415  reading alone mostly needs the cache only

        self.path = path
        self.before = _text(path)
        from_text(path, self.before)
        self._yaml = YAML(typ="rt")
        self._yaml.preserve_quotes = True
        self._yaml.width = 4096
        self._yaml.explicit_start = self.before.startswith("---")
        self._yaml.indent(mapping=2, sequence=4, offset=2)
        self.data: Any = self._yaml.load(self.before)

    def text(self) -> str:
        """The changed text."""
        stream = StringIO()
        self._yaml.dump(self.data, stream)
        return stream.getvalue()

    def write(self) -> None:
        """Replace the file, all or nothing.

        Raises:
            InputError: The file was changed by somebody else since it was read, or cannot be
                written.
        """
        if _text(self.path) != self.before:
            raise InputError(
                "the file was changed while we worked on it",
                where=str(self.path),
                remedy="run the command again",
            )
        try:
            _replace(self.path, self.text())
        except OSError as error:
            raise InputError(
                f"the file cannot be written: {error.strerror}", where=str(self.path)
            ) from error


def quoted(text: str) -> Any:
    """A text that is written in double quotes, so that no reader takes it for a number."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString  # noqa: PLC0415  as above

    return DoubleQuotedScalarString(text)


def _text(path: Path) -> str:
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


def _parsed(path: Path, text: str) -> tuple[Any, dict[Keys, int]]:
    digest = hashlib.sha256(f"{_CACHE_FORMAT}{text}".encode()).hexdigest()
    kept = _kept(path)
    if kept is not None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            entry = json.loads(kept.read_text(encoding="utf-8"))
            if entry["digest"] == digest:
                return entry["data"], {tuple(keys): line for keys, line in entry["lines"]}
    # Loading the parser costs a tenth of an unchanged build's second.
    from bakehouse.stacks.plain_yaml import PlainYamlError, parse  # noqa: PLC0415

    try:
        data, lines = parse(text)
    except PlainYamlError as error:
        where = f"{path}:{error.line}" + (f": {error.key}" if error.key else "")
        raise InputError(error.reason, where=where, remedy=error.remedy) from error
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
        relative = path.resolve().relative_to(layout.ROOT.resolve())
        name = str(relative).replace("-", "--").replace(os.sep, "-")
        return layout.STATE / "documents" / f"{name}.json"
    return None


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        if path.exists():
            partial.chmod(path.stat().st_mode & 0o7777)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
