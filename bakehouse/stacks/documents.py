"""The only reader of YAML: plain data, with the line of every key for error messages."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent

from bakehouse.errors import InputError

LARGEST_DOCUMENT_BYTES = 1 << 20

Keys = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A YAML file as plain data.

    Attributes:
        path: The file.
        data: dicts, lists and scalars.
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
            key, or uses aliases (a few lines of which can expand to gigabytes).
    """
    tree = _tree(path, _text(path))
    if not isinstance(tree, CommentedMap):
        raise InputError(
            "the file does not hold a mapping (key: value)",
            where=f"{path}:1",
            remedy="start with a key",
        )
    return Document(path=path, data=_plain(tree), lines=dict(_lines(tree, ())))


def load_list(path: Path) -> list[Any]:
    """Read one YAML list, such as a playbook.

    Raises:
        InputError: As `load`, or the file holds no list.
    """
    tree = _tree(path, _text(path))
    if not isinstance(tree, CommentedSeq):
        raise InputError(
            "the file does not hold a list", where=f"{path}:1", remedy="start with `- `"
        )
    return list(_plain(tree))


def round_trip(path: Path) -> tuple[YAML, CommentedMap]:
    """Read a file so that writing it back keeps comments and order.

    Raises:
        InputError: As `load`.
    """
    load(path)
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.explicit_start = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml, yaml.load(path.read_text(encoding="utf-8"))


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > LARGEST_DOCUMENT_BYTES:
            raise InputError(
                f"the file has {size} bytes, more than the {LARGEST_DOCUMENT_BYTES} allowed",
                where=str(path),
                remedy="split it; our documents are lists of versions",
            )
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            "there is no such file", where=str(path), remedy="check the name"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the file cannot be read: {error}", where=str(path), remedy="it must be UTF-8 text"
        ) from error


def _tree(path: Path, text: str) -> Any:
    try:
        for event in YAML(typ="rt").parse(text):
            if isinstance(event, AliasEvent):
                raise InputError(
                    "aliases (*name) are not allowed",
                    where=f"{path}:{event.start_mark.line + 1}: {event.anchor}",
                    remedy="write the value out",
                )
        tree = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        key = str(error.problem).split('"')[1] if '"' in str(error.problem) else ""
        raise InputError(
            f"the key {key} is written twice",
            where=f"{path}:{line}: {key}",
            remedy="keep one of them",
        ) from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(
            f"not YAML: {error.problem}", where=f"{path}:{line}", remedy="correct the syntax there"
        ) from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise InputError(
            f"not YAML: {error}", where=str(path), remedy="correct the syntax"
        ) from error
    if tree is None:
        raise InputError("the file is empty", where=str(path), remedy="write at least one key")
    return tree


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _lines(node: Any, above: Keys) -> Iterator[tuple[Keys, int]]:
    if isinstance(node, CommentedMap):
        for key, value in node.items():
            yield (*above, str(key)), node.lc.key(key)[0] + 1
            yield from _lines(value, (*above, str(key)))
    elif isinstance(node, CommentedSeq):
        for index, value in enumerate(node):
            yield (*above, index), node.lc.item(index)[0] + 1
            yield from _lines(value, (*above, index))
