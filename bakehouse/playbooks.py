"""Playbooks: an image's ordered list of roles, and the parts that several images share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.stacks import documents

IMPORT = ("ansible.builtin.import_playbook", "import_playbook")


@dataclass(frozen=True, kw_only=True)
class Playbook:
    """What a playbook says, its parts included.

    Attributes:
        roles: Role names, in order.
        variables: Variables of its plays and imports.
        files: The file itself and the parts that it imports, in order.
    """

    roles: tuple[str, ...]
    variables: dict[str, Any]
    files: tuple[Path, ...]


def load_playbook(name: str) -> Playbook:
    """Read `playbooks/<name>.yml`.

    Raises:
        InputError: The playbook or a part is missing, or is more than lists of roles.
    """
    return _load(layout.PLAYBOOKS / f"{name}.yml", ())


def _load(path: Path, importers: tuple[Path, ...]) -> Playbook:
    if path in importers:
        raise InputError(
            "the playbook imports itself", where=f"{path}:1", remedy="remove one of the imports"
        )
    roles: list[str] = []
    variables: dict[str, Any] = {}
    files = [path]
    for play in documents.load_list(path):
        part = _imported(play, path, importers)
        if part is not None:
            roles += part.roles
            files += part.files
            variables |= part.variables
        else:
            roles += _roles(play, path)
        variables |= play.get("vars") or {}
    return Playbook(roles=tuple(roles), variables=variables, files=tuple(dict.fromkeys(files)))


def _imported(play: Any, path: Path, importers: tuple[Path, ...]) -> Playbook | None:
    if not isinstance(play, dict):
        return None
    name = next((str(play[key]) for key in IMPORT if key in play), None)
    if name is None:
        return None
    target = (path.parent / name).resolve()
    if not target.is_file():
        raise InputError(f"there is no part {name}", where=str(path), remedy="see playbooks/parts/")
    return _load(target, (*importers, path))


def _roles(play: Any, path: Path) -> list[str]:
    roles = play.get("roles") if isinstance(play, dict) else None
    if not isinstance(roles, list):
        raise InputError(
            "a playbook consists of plays with a list of roles, and of imports",
            where=f"{path}:1",
            remedy="add `roles:`, or remove the play",
        )
    return [role if isinstance(role, str) else str(role["role"]) for role in roles]
