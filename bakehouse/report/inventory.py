"""What is in an image: packages of the distribution and of Python, and the recorded components."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bakehouse.errors import HostError

PYTHON_LISTING = (
    "import json;from importlib import metadata as m;"
    "print(json.dumps(sorted({(d.metadata['Name'],d.version,"
    "(d.metadata.get('License-Expression') or '')) for d in m.distributions()})))"
)
_QUERY = r"""
. /etc/os-release; echo "$ID $VERSION_ID $(uname -m)"
if command -v dpkg-query >/dev/null; then
  dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n'
else
  rpm -qa --qf '%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\tinstalled\n'
fi
"""

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


def take(execute: Exec, identity: dict[str, Any] | None) -> Inventory:
    """Look into a container.

    Args:
        execute: Runs a command there; returns status and output.
        identity: The image's identity file.

    Raises:
        HostError: Its package database cannot be read.
    """
    status, output = execute(["sh", "-c", _QUERY])
    if status != 0:
        raise HostError(f"the package database cannot be read: {output.strip()[-200:]}")
    first, *rows = output.strip().splitlines()
    distribution, release, architecture = first.split()
    kind = "deb" if distribution in {"debian", "ubuntu"} else "rpm"
    packages = [
        Package(kind=kind, name=name, version=version, architecture=arch)
        for name, version, arch, state in (row.split("\t") for row in rows)
        if state == "installed"
    ]
    packages += _python(execute) + _unmanaged(identity)
    return Inventory(
        distribution=distribution,
        release=release,
        architecture=architecture,
        packages=sorted(packages, key=lambda p: (p.kind, p.name.lower(), p.version)),
    )


def _python(execute: Exec) -> list[Package]:
    status, output = execute(["/opt/venv/bin/python", "-c", PYTHON_LISTING])
    if status != 0:
        return []
    return [
        Package(kind="pypi", name=name, version=version, licence=licence)
        for name, version, licence in json.loads(output)
    ]


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
