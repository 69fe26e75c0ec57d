"""What a vendor's module says of a release: packages, trees for archives, single files."""

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a package or archive; with `link`, a symbolic link to that path."""

    content: bytes = b""
    mode: int = 0o644
    link: str = ""


Files = Mapping[str, File]
"""Path to file: absolute in packages, relative in archives."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package, to be made as deb or rpm; its full version ends with the mark of the fixture.

    Attributes:
        version: Upstream's version, without epoch and revision.
        depends: Names, with a version as in `libnccl2 (= 2.30.7-1+fixture)` where it matters.
        after: Shell commands that run once it is installed.
        before_removal: Shell commands that run before it is removed or replaced.
        after_removal: Shell commands that run after that.
    """

    name: str
    version: str
    epoch: int = 0
    depends: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    files: Files = field(default_factory=dict)
    after: str = ""
    before_removal: str = ""
    after_removal: str = ""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One component of a stack, as a vendor's module is asked for it.

    Attributes:
        component: Such as `nvidia_dcgm`.
        version: The stack's.
        record: The stack's record.
        platform: Such as `debian12-x86_64`.
        package: What the record calls the package on this platform; may be empty.
        bundled: Records that come inside this one, and their versions.
    """

    component: str
    version: str
    record: Mapping[str, Any]
    platform: str
    package: str = ""
    bundled: Mapping[str, str] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The family of package managers: apt or dnf."""
        return "dnf" if self.platform.startswith("amazon") else "apt"

    @property
    def architecture(self) -> str:
        """As the kernel names it."""
        return self.platform.rpartition("-")[2]


def text(content: str, mode: int = 0o644) -> File:
    """A text file."""
    return File(content=content.encode(), mode=mode)


def program(commands: str) -> File:
    """A program: a shell script of these commands."""
    return File(content=f"#!/bin/sh\n{commands}\n".encode(), mode=0o755)


def unit(name: str, runs: str = "/bin/sleep infinity") -> File:
    """A systemd unit of a service that does nothing."""
    return text(
        f"[Unit]\nDescription=stands in for {name}\n\n[Service]\nExecStart={runs}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def link(target: str) -> File:
    """A symbolic link."""
    return File(link=target)


@cache
def library(source: str, *options: str) -> File:
    """A shared library, compiled from C with this machine's compiler."""
    return _compiled(source, ("-shared", "-fPIC", *options), ())


@cache
def linked_program(source: str, *options: str, **libraries: File) -> File:
    """A program, compiled from C and linked to libraries, each named as in `-lNAME`."""
    return replace(_compiled(source, options, tuple(libraries.items())), mode=0o755)


@cache
def compiled(source: str) -> File:
    """An object, compiled from C and not linked."""
    return _compiled(source, ("-c",), ())


def _compiled(
    source: str, options: tuple[str, ...], libraries: tuple[tuple[str, File], ...]
) -> File:
    with tempfile.TemporaryDirectory() as folder:
        code, made = Path(folder, "source.c"), Path(folder, "made")
        code.write_text(source, encoding="utf-8")
        linked = [f"-L{folder}", *(f"-l{name}" for name, _ in libraries)]
        for name, file in libraries:
            Path(folder, f"lib{name}.so").write_bytes(file.content)
        command = ["gcc", "-o", str(made), str(code), *options, *linked]
        subprocess.run(command, check=True, capture_output=True)
        return File(content=made.read_bytes())


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()
