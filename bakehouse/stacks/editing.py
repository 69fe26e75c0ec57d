"""Changes to a stack's file that leave every other character as it is."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakehouse.stacks import documents, stack
from bakehouse.stacks.plain_yaml import Keys, PlainYamlError, parse
from bakehouse.stacks.records import Requirement


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a command would do, or has done, to a stack's file.

    Attributes:
        path: The file.
        before: Its text when it was read.
        after: Its new text.
        notes: One line for each thing that was verified, recorded or must be told.
    """

    path: Path
    before: str
    after: str
    notes: list[str]

    @property
    def diff(self) -> str:
        """The change as a unified diff; empty if there is none."""
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            fromfile=f"a/{self.path.name}",
            tofile=f"b/{self.path.name}",
        )
        return "".join(lines)

    def stack(self) -> stack.Stack:
        """The stack as it would be.

        Raises:
            InputError: The change would make it wrong.
        """
        return stack.parse(documents.from_text(self.path, self.after))

    def write(self) -> None:
        """Write the file, all or nothing.

        Raises:
            InputError: The change would make the stack wrong, the file was changed meanwhile, or it
                cannot be written.
        """
        self.stack()
        if self.after != self.before:
            documents.replace(self.path, before=self.before, after=self.after)


class TextEditor:
    """The text of a YAML file and the changes that are to be made to it.

    Attributes:
        path: The file.
        before: Its text.
        data: Its content.
    """

    def __init__(self, path: Path) -> None:
        """Read a file.

        Raises:
            InputError: As `documents.load`.
        """
        self.path = path
        self.before = documents.text(path)
        self.document = documents.from_text(path, self.before)
        self.data = self.document.data
        self._spans = parse(self.before).spans
        self._changes: list[tuple[int, int, str]] = []

    def set(self, keys: Keys, value: str) -> None:
        """Give a scalar another value."""
        span = self._spans[keys]
        self._changes.append((span.start, span.end, _written(value, span.quote)))

    def add(self, keys: Keys, value: str, *, after: str) -> None:
        """Add a key to a mapping, behind one of its scalars."""
        span = self._spans[(*keys[:-1], after)]
        entry = f"{keys[-1]}: {_written(value)}"
        if span.in_flow:
            self._insert(span.end, f", {entry}")
        else:
            self._insert(self._end_of_line(span.end), f"\n{' ' * span.key_column}{entry}")

    def set_requirements(self, component: str, requirements: Iterable[Requirement]) -> None:
        """Give a Python record another closure; entries that do not change stay as they are."""
        keys = (component, "requirements")
        kept = {
            (item["name"], item["version"], *item.get("sha256", [])): self._lines_of((*keys, place))
            for place, item in enumerate(self.data[component]["requirements"])
        }
        start = self._start_of_line(self._extent((*keys, 0))[0])
        end = self._end_of_line(self._extent(keys)[1])
        dash = self._spans[(*keys, 0, "name")].key_column - 2
        texts = [
            kept.get((item.name, item.version, *item.sha256)) or _block(item, dash)
            for item in requirements
        ]
        self._changes.append((start, end, "\n".join(texts)))

    def remove(self, keys: Keys) -> None:
        """Remove a key that stands on lines of its own, with what is below it."""
        first = self.document.lines[keys] - 1
        starts = [0, *(i + 1 for i, char in enumerate(self.before) if char == "\n")]
        end = self._end_of_line(self._extent(keys)[1])
        self._changes.append((starts[first], min(end + 1, len(self.before)), ""))

    def change(self, notes: list[str]) -> Change:
        """All changes together."""
        text = self.before
        for start, end, new in sorted(self._changes, reverse=True):
            text = text[:start] + new + text[end:]
        return Change(path=self.path, before=self.before, after=text, notes=notes)

    def _insert(self, index: int, text: str) -> None:
        self._changes.append((index, index, text))

    def _extent(self, keys: Keys) -> tuple[int, int]:
        """From the first scalar to the last one at or below a key path."""
        below = [span for path, span in self._spans.items() if path[: len(keys)] == keys]
        return min(span.start for span in below), max(span.end for span in below)

    def _lines_of(self, keys: Keys) -> str:
        start, end = self._extent(keys)
        return self.before[self._start_of_line(start) : self._end_of_line(end)]

    def _start_of_line(self, index: int) -> int:
        return self.before.rfind("\n", 0, index) + 1

    def _end_of_line(self, index: int) -> int:
        end = self.before.find("\n", index)
        return len(self.before) if end < 0 else end


def _written(value: str, quote: str = "") -> str:
    """A text as YAML: plain where every reader takes it for this text."""
    if quote == "'" and "'" not in value:
        return f"'{value}'"
    if not quote and _is_plain(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_plain(value: str) -> bool:
    try:
        data: Any = parse(f"[{value}]").data
    except PlainYamlError:
        return False
    return bool(data == [value])


def _block(requirement: Requirement, dash: int) -> str:
    indent = " " * dash
    lines = [
        f"{indent}- name: {requirement.name}",
        f"{indent}  version: {json.dumps(requirement.version)}",
        f"{indent}  sha256:",
        *(f"{indent}    - {_written(digest)}" for digest in requirement.sha256),
    ]
    return "\n".join(lines)
