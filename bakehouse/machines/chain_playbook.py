"""A playbook taken apart: what it begins with, and the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakehouse.playbooks import IMPORT
from bakehouse.stacks import documents

Play = dict[str, Any]

_OF_A_PLAY = {"name", "hosts", "gather_facts", "become", "vars", "tags", "roles"}
_OF_AN_IMPORT = {"name", "vars", "tags", *IMPORT}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A role where a playbook names it.

    Attributes:
        role: Its name.
        entry: All that the playbook says of it there.
        play: The play that it is in, without its other roles.
    """

    role: str
    entry: Play
    play: Play

    def alone(self) -> Play:
        """A play of this role only."""
        return {**self.play, "roles": [self.entry]}


def plays(path: Path) -> list[Play]:
    """The plays of a playbook, those of its parts in their place.

    An import that says more than variables and tags stays one, of an absolute path.

    Raises:
        InputError: A file is missing, or is not YAML.
    """
    found: list[Play] = []
    for entry in documents.load_list(path):
        part = next((str(entry[key]) for key in IMPORT if key in entry), None)
        if part is None:
            found.append(entry)
            continue
        target = (path.parent / part).resolve()
        if set(entry) <= _OF_AN_IMPORT:
            found += [_with(play, entry) for play in plays(target)]
        else:
            rest = {key: value for key, value in entry.items() if key not in IMPORT}
            found.append({**rest, IMPORT[0]: str(target)})
    return found


def steps(of: Sequence[Play]) -> list[Step]:
    """The roles in order, as far as plays are no more than lists of roles."""
    found: list[Step] = []
    for play in of:
        if not set(play) <= _OF_A_PLAY:
            break
        rest = {key: value for key, value in play.items() if key != "roles"}
        for role in play["roles"]:
            entry = {"role": role} if isinstance(role, str) else role
            found.append(Step(role=str(entry["role"]), entry=entry, play=rest))
    return found


def cut(of: Sequence[Play], count: int) -> tuple[list[Play], list[Play]]:
    """The plays with the first so many roles, and the plays with the others."""
    head: list[Play] = []
    tail: list[Play] = []
    for play in of:
        roles = play.get("roles", [])
        first, others = roles[:count], roles[count:]
        count -= len(first)
        if first:
            head.append({**play, "roles": first})
        if others or not roles:
            tail.append({**play, "roles": others} if roles else play)
    return head, tail


def _with(play: Play, imported: Play) -> Play:
    """A part's play as Ansible runs it: what the import says wins, and tags add up."""
    more: Play = {}
    if "vars" in imported:
        more["vars"] = {**(play.get("vars") or {}), **imported["vars"]}
    if "tags" in imported:
        more["tags"] = [*_tags(play), *_tags(imported)]
    return {**play, **more}


def _tags(entry: Play) -> list[str]:
    given = entry.get("tags") or []
    return given.split(",") if isinstance(given, str) else list(given)
