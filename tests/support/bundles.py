"""Bundles made by hand, and what their servers answer."""

import hashlib
import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bakehouse.mirror.manifest import File, Manifest

ORIGIN = "made by a test"


@dataclass(frozen=True)
class Answer:
    """A server's answer."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


def ask(
    connection: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> Answer:
    """Ask for a path or, as of a proxy, for an address."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=names)
    answer = connection.getresponse()
    return Answer(answer.status, answer.reason, dict(answer.headers), answer.read())


def make(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    absent: tuple[str, ...] = (),
    sources: Mapping[str, tuple[str, ...]] | None = None,
) -> Path:
    """Write a finished bundle."""
    for place, content in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    entries = [
        File(
            path=place,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            origin=ORIGIN,
            wanted_by=("tiny_release",),
        )
        for place, content in files.items()
    ]
    draft = Manifest(stack="tiny", inputs="", images=(), platforms=(), sources=sources or {})
    draft.with_files(entries, absent).write(folder)
    return folder


def flip(path: Path) -> None:
    """Alter one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # it may have other names
    path.write_bytes(bytes(content))
