"""What is in a bundle, file by file, and what it was made for."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bakehouse.errors import DownloadError, InputError
from bakehouse.mirror.server import MANIFEST

VERSION = 1
CREATE_AGAIN = "where there is a network, run `bakehouse mirror create` again"


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a bundle.

    Attributes:
        path: Inside the bundle.
        size: In bytes.
        sha256: Hex digest.
        origin: Address that it came from; of an index page: what it was made from.
        wanted_by: Records and images that fetch it.
    """

    path: str
    size: int
    sha256: str
    origin: str
    wanted_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A bundle's manifest.

    Attributes:
        stack: Name of the stack.
        inputs: Digest of all that decides what is fetched, but for the distribution's state.
        images: Whose builds were recorded.
        platforms: Of archives and keys.
        sources: apt's sources of each root file system, as `deb …` lines.
        left_out: What the stack names and the bundle does not have, and why.
        absent: Places that were asked for while recording, and that the origin did not have.
        files: All files but the manifest itself.
        complete: False while the bundle is being made.
    """

    stack: str
    inputs: str
    images: tuple[str, ...]
    platforms: tuple[str, ...]
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    complete: bool = True

    def write(self, folder: Path) -> None:
        """Write it into the bundle."""
        text = json.dumps({"version": VERSION, **asdict(self)}, indent=1, sort_keys=True) + "\n"
        temporary = folder / f".{MANIFEST}.part"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / MANIFEST)

    def with_files(self, files: Iterable[File], absent: Iterable[str]) -> "Manifest":
        """The same, of a finished bundle with these files."""
        ordered = tuple(sorted(files, key=lambda file: file.path))
        return replace(self, files=ordered, absent=tuple(sorted(absent)), complete=True)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.files)


def read(folder: Path) -> Manifest:
    """The manifest of a bundle.

    Raises:
        InputError: The folder is no bundle, or one that is not finished.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"this is no bundle: {MANIFEST}: {error.strerror}",
            where=str(folder),
            remedy="name a folder that `bakehouse mirror create` made",
        ) from error
    return parse(text, str(folder))


def parse(text: str, where: str, *, recording: bool = False) -> Manifest:
    """The manifest in a text; `recording` allows that of a bundle in the making.

    Raises:
        InputError: It is none, or that of a bundle that is not finished.
        DownloadError: It is damaged.
    """
    try:
        data: dict[str, Any] = json.loads(text)
        version = data.pop("version")
        if version != VERSION:
            raise InputError(
                f"the bundle's format is {version}, this program reads {VERSION}",
                where=where,
                remedy=CREATE_AGAIN,
            )
        manifest = _from(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DownloadError(
            f"{MANIFEST} is damaged: {error}", where=where, remedy=CREATE_AGAIN
        ) from error
    if not manifest.complete and not recording:
        raise InputError("the bundle is not finished", where=where, remedy=CREATE_AGAIN)
    return manifest


def digest_of(text: bytes) -> str:
    """What a bundle is known by: the SHA-256 of its manifest."""
    return hashlib.sha256(text).hexdigest()


def _from(data: dict[str, Any]) -> Manifest:
    files = tuple(
        File(**{**file, "wanted_by": tuple(file["wanted_by"])}) for file in data.pop("files")
    )
    sources = {name: tuple(lines) for name, lines in data.pop("sources").items()}
    for name in ("images", "platforms", "left_out", "absent"):
        data[name] = tuple(data[name])
    return Manifest(files=files, sources=sources, **data)
