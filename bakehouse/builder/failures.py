"""What to show of a failed layer: the task, where it stands, and what it said."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(.*)\] \**$")
_FATAL = re.compile(r"^(?:fatal|failed): \[.*?\].*?(?:=> ?(\{.*))?$")
_ORIGIN = re.compile(r"^Origin: (?:/mnt/)?(.*?)(?::\d+)?$")
_SAID = ("msg", "stderr", "stdout")
_MOST_LINES = 15
_LONGEST = 400


def relevant_lines(lines: Sequence[str]) -> list[str]:
    """From the output of a failed play its failed task; else the end of the output."""
    failed = next((i for i, line in enumerate(lines) if _is_failure(line)), None)
    if failed is None:
        return _short(lines[-_MOST_LINES:])
    tasks = [match[1] for line in lines[: failed + 1] if (match := _TASK.match(line))]
    head = [f"task: {tasks[-1]}"] if tasks else []
    rest = lines[failed:]
    origins = [match[1] for line in rest if (match := _ORIGIN.match(line))]
    head += [f"at: {origin}" for origin in origins[:1] if not origin.startswith("<")]
    return head + _short(_said(rest))


def _is_failure(line: str) -> bool:
    return line.startswith(("fatal:", "failed:", "[ERROR]:"))


def _said(lines: Sequence[str]) -> list[str]:
    """The module's own words, where its result can be read; else the lines as they are."""
    for line in lines:
        match = _FATAL.match(line)
        if match and match[1]:
            try:
                return _words(json.loads(match[1]))
            except ValueError:
                break
    end = next((i for i, line in enumerate(lines) if line.startswith("PLAY RECAP")), len(lines))
    return [line for line in lines[:end] if line.strip()]


def _words(result: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for item in [result, *[r for r in result.get("results") or [] if r.get("failed")]]:
        for name in _SAID:
            text = item.get(name) or ""
            new = [line for line in str(text).splitlines() if line.strip() and line not in found]
            found += new[-_MOST_LINES:]
    return found


def _short(lines: Iterable[str]) -> list[str]:
    kept = [line for line in lines if line.strip()][:_MOST_LINES]
    return [line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …" for line in kept]
