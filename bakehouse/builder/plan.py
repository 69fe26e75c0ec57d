"""What a container image is made of: its layers, each with a key over exactly its inputs.

The key of a layer covers the key below, the files of its role and of the roles that it includes,
the values of those variables that the role's specification names, and (through the lowest key) the
builder itself.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.images import Image
from bakehouse.launch.case import load_case
from bakehouse.playbooks import load_playbook
from bakehouse.stacks import documents
from bakehouse.stacks.stack import Stack, source_of_case, wheels_of_case

IDENTITY_ROLE = "image_info"
"""It names the build by what lies below it, so that a change above it does not reach down to it."""

LEFT_OUT = {"README.md", "molecule", "tests", "__pycache__"}
LEFT_OUT_ENDINGS = (".pyc", ".swp", "~")
WHEELS = "/srv"
"""Where wheels are mounted: an empty folder everywhere, so no mount point stays behind."""

LISTS_VALID_S = 3600
"""Package lists are kept between layers and builds; within an hour they are not fetched again."""

_INCLUDED = re.compile(
    r"""(?:include|import)_role:\s*\n(?:\s+\w+:.*\n){0,4}?\s+name:\s*["']?([a-z0-9_]+)"""
)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer to be.

    Attributes:
        name: Role, or the test case's name.
        kind: "role" or "case".
        files: Path inside the layer's context to the file that goes there.
        digests: The same paths to SHA-256.
        variables: What the role is given.
        wheels: Names of the Python records whose wheels are mounted.
        key: Hex digest over all of it and the layer below.
    """

    name: str
    kind: str
    files: Mapping[str, Path] = field(repr=False)
    digests: Mapping[str, str] = field(repr=False)
    variables: Mapping[str, Any] = field(repr=False)
    wheels: tuple[str, ...] = ()
    key: str = ""

    def inputs(self, below: str) -> dict[str, Any]:
        """Everything that the key covers, as plain data."""
        return {
            "below": below,
            "name": self.name,
            "files": dict(self.digests),
            "variables": dict(self.variables),
            "wheels": list(self.wheels),
        }

    def with_key(self, below: str) -> "Layer":
        """The same layer, keyed on top of another."""
        text = json.dumps(self.inputs(below), sort_keys=True, separators=(",", ":"))
        return replace(self, key=hashlib.sha256(text.encode()).hexdigest())


def role_layers(image: Image, stack: Stack, identity: Mapping[str, Any], base: str) -> list[Layer]:
    """Layers of a container image, keyed.

    Args:
        image: Of kind container.
        stack: Gives the records.
        identity: Values for the role image_info but the build's name, which is made here.
        base: Key below the first role, as `identity.base_key` makes it.

    Raises:
        InputError: The playbook names a role that does not exist.
    """
    assert image.playbook is not None
    playbook = load_playbook(image.playbook)
    values = {**stack.variables, **playbook.variables, **identity}
    roles = [r for r in playbook.roles if "container" in targets(r)]
    below = roles[: roles.index(IDENTITY_ROLE)] if IDENTITY_ROLE in roles else roles
    draft = keyed([_role_layer(role, values, stack) for role in below], base)
    values["image_info_build"] = build_id(draft[-1].key if draft else base)
    return keyed([_role_layer(role, values, stack) for role in roles], base)


def unbuilt_layers(image: Image, stack: Stack, base: str) -> list[Layer]:
    """Layers of a container or machine, keyed without looking at commits or at what is built.

    Args:
        image: Of kind container or machine.
        stack: Gives the records.
        base: Key of what it starts from.

    Raises:
        InputError: The playbook names a role that does not exist.
    """
    target = "machine" if image.kind == "machine" else "container"
    playbook = load_playbook(str(image.playbook))
    values = {**stack.variables, **playbook.variables}
    roles = [role for role in playbook.roles if target in targets(role)]
    return keyed([_role_layer(role, values, stack) for role in roles], base)


def keyed(layers: list[Layer], base: str) -> list[Layer]:
    """Chain the keys of layers, the lowest first."""
    result: list[Layer] = []
    for layer in layers:
        result.append(layer.with_key(result[-1].key if result else base))
    return result


def build_key(layers: list[Layer], base: str, environment: Mapping[str, str]) -> str:
    """Key of a whole image: of its last layer, and of its environment if it sets one."""
    last = layers[-1].key if layers else base
    if not environment:
        return last
    return hashlib.sha256(
        json.dumps([last, dict(environment)], sort_keys=True).encode()
    ).hexdigest()


def build_id(key: str) -> str:
    """The short name of a build: 12 hex digits of the digest of its inputs."""
    return key[:12]


def case_layer(case: str, stack: Stack, below: str) -> Layer:
    """The layer of a test case, keyed on top of its base image.

    Raises:
        InputError: There is no such case, or the stack has no record for it.
    """
    folder = layout.CONTAINERS / case
    if not (folder / "Dockerfile").is_file():
        raise InputError(
            f"there is no test case {case}", where=str(folder), remedy="add a Dockerfile"
        )
    record, source = wheels_of_case(case), source_of_case(case)
    files = tree(folder)
    for name in _shared(folder):
        files |= tree(layout.SHARED / name, f"{name}/")
    wheels = (record,) if record in stack.records else ()
    variables = {n: stack.variables[n] for n in (record, source) if n in stack.records}
    return Layer(
        name=case,
        kind="case",
        files=files,
        digests=digests(files),
        variables=variables,
        wheels=wheels,
    ).with_key(below)


def _shared(folder: Path) -> list[str]:
    description = folder / "case.yml"
    return load_case(folder.name).shared if description.is_file() else []


def targets(role: str) -> list[str]:
    """The targets on which a role does anything.

    Raises:
        InputError: There is no such role.
    """
    folder = layout.ROLES / role
    if not (folder / "tasks" / "main.yml").is_file():
        raise InputError(
            f"there is no role {role}", where=str(folder), remedy="see docs/add-a-role.md"
        )
    variables = folder / "vars" / "main.yml"
    found = documents.load(variables).data.get(f"__{role}_targets") if variables.is_file() else None
    return list(found) if found else ["machine", "container"]


def tree(folder: Path, prefix: str = "") -> dict[str, Path]:
    """Files of a folder that matter for a build, by their path inside it; links are followed."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_OUT or path.name.endswith(LEFT_OUT_ENDINGS):
            continue
        if path.is_dir():
            found.update(tree(path, f"{prefix}{path.name}/"))
        else:
            found[f"{prefix}{path.name}"] = path
    return found


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of each file with its executable bit.

    Raises:
        InputError: A file cannot be read.
    """
    return {
        name: _digest(path) + ("+x" if path.stat().st_mode & 0o111 else "")
        for name, path in files.items()
    }


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror}",
            where=str(path),
            remedy="is it a dead link?",
        ) from error


def _role_layer(role: str, values: Mapping[str, Any], stack: Stack) -> Layer:
    files: dict[str, Path] = {}
    for name in with_included(role):
        files.update(tree(layout.ROLES / name, f"roles/{name}/"))
    options = _options(role)
    given = {name: values[name] for name in sorted(options) if name in values}
    told = {"target": "container", "package_lists_valid_s": LISTS_VALID_S, "wheelhouse": WHEELS}
    wheels = tuple(n for n in given if n in stack.records and "requirements" in given[n])
    for name in with_included(role):
        given |= {f"{name}_{k}": v for k, v in told.items() if f"{name}_{k}" in options}
    return Layer(
        name=role, kind="role", files=files, digests=digests(files), variables=given, wheels=wheels
    )


def with_included(role: str) -> list[str]:
    """A role and all that it includes by name."""
    found, todo = [], [role]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.append(name)
        for path in sorted((layout.ROLES / name / "tasks").rglob("*.yml")):
            todo += _INCLUDED.findall(path.read_text(encoding="utf-8"))
    return found


def _options(role: str) -> set[str]:
    """Names of the variables that a role and those that it includes take."""
    found: set[str] = set()
    for name in with_included(role):
        specification = layout.ROLES / name / "meta" / "argument_specs.yml"
        if specification.is_file():
            entries = documents.load(specification).data["argument_specs"]
            found.update(option for e in entries.values() for option in e.get("options") or {})
    return found
