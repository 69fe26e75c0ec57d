"""Looks into every layer of an image, what later layers hide included."""

import io
import json
import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import IO, Any

from bakehouse import engine

NAMES = {
    "Ansible": re.compile(r"ansible|mitogen", re.IGNORECASE),
    "a cache of pip": re.compile(r"(^|/)\.cache/|(^|/)pip/(http|selfcheck|wheels)"),
    "a configuration of pip": re.compile(r"(^|/)(pip\.conf|\.pip/.*)$"),
    "credentials": re.compile(r"(^|/)(\.netrc|\.pypirc|\.git-credentials|\.docker/config\.json)$"),
    "something of a mount": re.compile(r"^(mnt|media|srv|tmp|run/secrets)/."),
    "a cache of apt": re.compile(r"^var/(cache/apt|lib/apt/lists)/.*[^/]$"),
    "proxies of apt": re.compile(r"^etc/apt/apt\.conf\.d/.*proxy"),
}
"""What must not be in a layer, by its name."""


def findings(reference: str, above: str, secrets: Iterable[str] = ()) -> list[str]:
    """What is in the layers and should not be, one line each.

    Nothing of the image is written to disk: images have gigabytes.

    Args:
        reference: Image.
        above: Image that it stands on, whose layers are not looked at.
        secrets: Texts that no file may contain.
    """
    needles = [secret.encode() for secret in secrets]
    base = engine.connect().images.get(above).attrs["RootFS"]["Layers"]
    found: dict[str, list[str]] = {}
    links: dict[str, str] = {}
    order: list[str] = []
    with _saved(reference) as archive:
        for member in archive:
            if member.name == "manifest.json":
                order = json.load(_file(archive, member))[0]["Layers"]
            elif member.issym():
                target = posixpath.join(posixpath.dirname(member.name), member.linkname)
                links[member.name] = posixpath.normpath(target)
            elif member.isfile():
                with suppress(tarfile.ReadError):  # a description; a layer would be missed below
                    found[member.name] = list(_in_layer(_file(archive, member), needles))
    own = [found[links.get(name, name)] for name in order[len(base) :]]
    assert own, f"{reference} has no layer of its own above {above}"
    return [f"layer {number}: {what}" for number, layer in enumerate(own) for what in layer]


def configuration(reference: str) -> str:
    """All that docker remembers of how an image was made: commands, variables, labels."""
    image = engine.connect().images.get(reference)
    return json.dumps([image.attrs, image.history()])


def _saved(reference: str) -> tarfile.TarFile:
    """An image as `docker save` writes it, to be read once from front to end."""
    chunks = io.BufferedReader(_Chunks(engine.connect().images.get(reference).save()))
    return tarfile.open(fileobj=chunks, mode="r|")


def _in_layer(blob: IO[bytes], needles: Sequence[bytes]) -> Iterator[str]:
    with tarfile.open(fileobj=blob, mode="r|*") as layer:
        for member in layer:
            name = member.name.removeprefix("./")
            if name.rpartition("/")[2].startswith(".wh."):
                continue  # says that something below is gone
            whats = [what for what, pattern in NAMES.items() if pattern.search(name)]
            if member.isdir():
                whats = [what for what in whats if what == "Ansible"]
            if member.isfile() and needles:
                content = _file(layer, member).read()
                whats += ["a secret" for needle in needles if needle in content]
            yield from (f"{what}: {name}" for what in whats)


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(member)
    assert found is not None
    return found


class _Chunks(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        taken, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)
