"""Plain data out of YAML, and the line of every key; what is dangerous or ambiguous is refused."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

DEEPEST = 40
"""Levels of nesting. The parser's time grows with the square of them."""

LONGEST_NUMBER = 100

Keys = tuple[str | int, ...]

_MEANINGS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?(0|[1-9][0-9]*)"), int),
    (re.compile(r"([-+]?[0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?"), float),
)
# Ansible reads YAML 1.1, most other programs 1.2. Of these texts they make different things.
# No two repetitions side by side take the same character, lest a long text take for ever.
_AMBIGUOUS = re.compile(
    r"""yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|=|<<
    | [-+]?0[0-9_]+ | [-+]?0[box][0-9a-fA-F_]+
    | [-+]?[0-9]+_[0-9_]*
    | [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?
    | [-+]?([0-9]+|[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?
    | [-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)""",
    re.VERBOSE,
)
# A comment in which one of them hides is a record to other programs.
_ODD_END = re.compile(r"[\x85\u2028\u2029]|\r(?!\n)")


class PlainYamlError(Exception):
    """The text is not YAML, or not YAML that we accept.

    Attributes:
        line: From 1.
        key: What the error is about; may be empty.
        reason: What is wrong.
        remedy: What to do about it.
    """

    def __init__(self, line: int, reason: str, remedy: str, key: str = "") -> None:
        super().__init__(reason)
        self.line = line
        self.key = key
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, kw_only=True)
class Span:
    """Where a scalar stands in the text.

    Attributes:
        start: Index of its first character, quotes included.
        end: Index after its last.
        quote: Its quotes; empty if it has none.
        key_column: Column of its key; of the scalar itself in a list.
        in_flow: It is inside of braces or brackets.
    """

    start: int
    end: int
    quote: str
    key_column: int
    in_flow: bool


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """The only document of a text.

    Attributes:
        data: dicts, lists and scalars. Dates are texts. None if there is no document.
        lines: Line number (from 1) of each key path and list item.
        spans: Place of each scalar.
    """

    data: Any
    lines: dict[Keys, int]
    spans: dict[Keys, Span]


def parse(text: str) -> Parsed:
    """Read the only document of a text.

    Raises:
        PlainYamlError: It is not YAML, or has aliases, tags, duplicated keys, a second document,
            too many levels, or a value that Ansible and other programs read differently.
    """
    odd = _ODD_END.search(text)
    if odd is not None:
        raise PlainYamlError(
            text.count("\n", 0, odd.start()) + 1,
            f"the character U+{ord(odd[0]):04X} ends a line for some readers of YAML only",
            "end lines with a newline",
        )
    try:
        return _Reader(iter(YAML(typ="rt").parse(text))).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise PlainYamlError(
            line, f"not YAML: {error.problem or error.context}", "correct the syntax there"
        ) from error
    except YAMLError as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise PlainYamlError(line, f"not YAML: {reason}", "correct the text there") from error


class _Reader:
    def __init__(self, events: Iterator[Event]) -> None:
        self.events = events
        self.lines: dict[Keys, int] = {}
        self.spans: dict[Keys, Span] = {}
        self.flows = 0

    def document(self) -> Parsed:
        data, documents = None, 0
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise PlainYamlError(
                        _line(event), "the file holds more than one document", "split it at the ---"
                    )
                data = self.node(next(self.events), (), 0)
        return Parsed(data=data, lines=self.lines, spans=self.spans)

    def node(self, event: Event, path: Keys, key_column: int) -> Any:
        _refuse_unsafe(event, path)
        if isinstance(event, ScalarEvent):
            self.spans[path] = Span(
                start=event.start_mark.index,
                end=event.end_mark.index,
                quote=event.style or "",
                key_column=key_column,
                in_flow=self.flows > 0,
            )
            return _scalar(event, path)
        assert isinstance(event, MappingStartEvent | SequenceStartEvent)
        flow = int(bool(event.flow_style))
        self.flows += flow
        mapping = isinstance(event, MappingStartEvent)
        result = self.mapping(path) if mapping else self.sequence(path)
        self.flows -= flow
        return result

    def mapping(self, path: Keys) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            _refuse_unsafe(event, path)
            if not isinstance(event, ScalarEvent):
                raise PlainYamlError(_line(event), "a key is a list or a mapping", "use a text")
            _scalar(event, path)
            key = str(event.value)
            if key in result:
                first = self.lines[(*path, key)]
                raise PlainYamlError(
                    _line(event),
                    f"the key {key} is written twice, first in line {first}",
                    "keep one of them",
                    _dotted((*path, key)),
                )
            self.lines[(*path, key)] = _line(event)
            column = event.start_mark.column
            result[key] = self.node(next(self.events), (*path, key), column)
        return result

    def sequence(self, path: Keys) -> list[Any]:
        result: list[Any] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            item = (*path, len(result))
            self.lines[item] = _line(event)
            result.append(self.node(event, item, event.start_mark.column))
        return result


def _refuse_unsafe(event: Event, path: Keys) -> None:
    if isinstance(event, AliasEvent):
        raise PlainYamlError(
            _line(event),
            f"aliases (*{event.anchor}) are not allowed: a few can expand to gigabytes",
            "write the value out",
            _dotted(path),
        )
    tag = getattr(event, "tag", None)
    if tag is not None:
        raise PlainYamlError(
            _line(event), f"tags ({tag}) are not allowed", "write plain data", _dotted(path)
        )
    if len(path) > DEEPEST:
        raise PlainYamlError(
            _line(event), f"more than {DEEPEST} levels of nesting", "our documents have a few"
        )


def _scalar(event: ScalarEvent, path: Keys) -> Any:
    text = str(event.value)
    if event.style == ">":  # where its lines were joined, the round-trip scanner leaves a mark
        return text.replace("\a", "")
    if event.style is not None:  # quoted, or a block
        return text
    for pattern, meaning in _MEANINGS:
        if pattern.fullmatch(text):
            if len(text) > LONGEST_NUMBER:
                raise PlainYamlError(
                    _line(event),
                    f"a number of more than {LONGEST_NUMBER} characters",
                    "write it in quotes if it is a text",
                    _dotted(path),
                )
            return meaning(text)
    if _AMBIGUOUS.fullmatch(text):
        raise PlainYamlError(
            _line(event),
            f"{text} is not the same thing to every reader of YAML",
            f'write "{text}" if it is a text; else true, false or a decimal number',
            _dotted(path),
        )
    return text


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1


def _dotted(path: Keys) -> str:
    return ".".join(str(key) for key in path)
