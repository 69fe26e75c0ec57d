"""What is in an image: packages of the distribution and of Python, and the recorded components."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bakehouse.errors import HostError

PYTHON_LISTING = (
    "import json;from importlib import metadata as m;"
    "print(json.dumps(sorted({(d.metadata['Name'],d.version,"
    "(d.metadata.get('License-Expression') or ''))"
    " for d in m.distributions() if d.metadata['Name'] and d.version})))"
)
_QUERY = r"""
. /etc/os-release; echo "$ID $VERSION_ID $(uname -m)"
if command -v dpkg-query >/dev/null; then
  dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n'
else
  rpm -qa --qf '%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\tinstalled\n'
fi
"""

VENV_PYTHON = "/opt/venv/bin/python"
NO_SUCH_PROGRAM = (126, 127)
"""Statuses with which an engine says that it could not start a program."""

Exec = Callable[[list[str]], tuple[int, str]]


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package. `kind` is "deb", "rpm", "pypi" or "generic"."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    licence: str = ""
    url: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """All packages of an image, sorted, and the distribution they belong to."""

    distribution: str
    release: str
    architecture: str
    packages: list[Package]

    def of_kind(self, *kinds: str) -> dict[str, str]:
        """Names and versions of some kinds."""
        return {p.name: p.version for p in self.packages if p.kind in kinds}


def from_json(plain: Mapping[str, Any]) -> Inventory:
    """An inventory as `dataclasses.asdict` made plain data of it."""
    packages = [Package(**package) for package in plain["packages"]]
    return Inventory(**{**plain, "packages": packages})


def take(execute: Exec, identity: dict[str, Any] | None) -> Inventory:
    """Look into a container.

    Args:
        execute: Runs a command there; returns status and output.
        identity: The image's identity file.

    Raises:
        HostError: Its package database cannot be read.
    """
    status, output = execute(["sh", "-c", _QUERY])
    try:
        first, *rows = output.strip().splitlines() if status == 0 else []
        distribution, release, architecture = first.split()
        kind = "deb" if distribution in {"debian", "ubuntu"} else "rpm"
        packages = [
            Package(kind=kind, name=name, version=version, architecture=arch)
            for name, version, arch, state in (row.split("\t") for row in rows)
            if state == "installed"
        ]
    except ValueError as error:
        raise HostError(
            f"the package database cannot be read: {output.strip()[-200:]}",
            remedy="look at it with `bakehouse check --keep`",
        ) from error
    packages += _python(execute) + _unmanaged(identity)
    return Inventory(
        distribution=distribution,
        release=release,
        architecture=architecture,
        packages=sorted(packages, key=lambda p: (p.kind, p.name.lower(), p.version)),
    )


def _python(execute: Exec) -> list[Package]:
    status, output = execute([VENV_PYTHON, "-c", PYTHON_LISTING])
    if status in NO_SUCH_PROGRAM:
        return []
    try:
        found: Any = json.loads(output) if status == 0 else None
        return [Package(kind="pypi", name=n, version=v, licence=x) for n, v, x in found]
    except (ValueError, TypeError) as error:  # an SBOM without them would look complete
        raise HostError(
            f"the Python packages cannot be listed: {output.strip()[-200:]}",
            where=VENV_PYTHON,
            remedy="bake the image again",
        ) from error


def _unmanaged(identity: dict[str, Any] | None) -> list[Package]:
    """Components that no package manager knows."""
    return [
        Package(
            kind="generic",
            name=component["component"],
            version=component["version"],
            url=component.get("url", ""),
            sha256=component.get("sha256", ""),
        )
        for component in (identity or {}).get("components", [])
        if component.get("source") == "archive"
    ]
