"""What the lists of recorded apt repositories promise of their packages.

apt verifies while it builds. This tells which files of a failed recording are not to be kept, and
that every package of a finished one is in a signed list.
"""

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from bakehouse.stacks import download

_VALID_UNTIL = re.compile(r"^Valid-Until: *(.+)$", re.MULTILINE)
_STANZA = re.compile(rb"^(Filename|SHA256): *(\S+)$", re.MULTILINE)
_DECOMPRESSED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\xfd7zXZ\x00": lzma.decompress,
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
}


def wrong(root: Path, verified: Collection[str] = ()) -> dict[str, str]:
    """Places of files that are not what their own name or their list says, and why.

    Args:
        root: A bundle, finished or in the making.
        verified: Places of files that something else verifies.
    """
    promised = dict(_by_hash(root))
    packages = {str(path.relative_to(root)) for path in root.rglob("*.deb")}
    for index in _indexes(root):
        promised |= {place: d for place, d in _promises(root, index) if place in packages}
    found = {}
    for place in sorted({*promised, *packages} - set(verified)):
        if place not in promised:
            found[place] = "no list of its repository has it"
        elif (digest := download.digest(root / place)) != promised[place]:
            found[place] = f"expected {promised[place]}, found {digest}"
    return found


def expired(root: Path, places: Collection[str]) -> dict[str, str]:
    """Places of lists that were no longer valid when they were fetched, and why.

    A bundle's lists are used when they are older than that, so here is where it counts.
    """
    found = {}
    for place in places:
        if Path(place).name in {"InRelease", "Release"}:
            text = (root / place).read_text(encoding="utf-8", errors="replace")
            until = _VALID_UNTIL.search(text)
            if until and parsedate_to_datetime(until[1]) < datetime.now(UTC):
                found[place] = f"was valid until {until[1]}"
    return found


def _by_hash(root: Path) -> Iterator[tuple[str, str]]:
    for path in root.rglob("by-hash/SHA256/*"):
        if not path.name.startswith("."):
            yield str(path.relative_to(root)), path.name


def _indexes(root: Path) -> Iterator[Path]:
    """Files that may be lists of packages, under their own names or those of their digests."""
    for pattern in ("Packages*", "by-hash/*/*"):
        yield from (path for path in root.rglob(pattern) if path.is_file())


def _promises(root: Path, index: Path) -> Iterator[tuple[str, str]]:
    """Places and digests of the packages in a list; nothing if it is another kind of file."""
    try:
        text = _content(index)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):
        return
    if not text.startswith(b"Package:"):
        return
    place = index.relative_to(root)
    parts = place.parts
    base = Path(*parts[: parts.index("dists")]) if "dists" in parts else place.parent
    for stanza in text.split(b"\n\n"):
        fields = {name: value.decode() for name, value in _STANZA.findall(stanza)}
        if len(fields) == 2:
            name = fields[b"Filename"].removeprefix("./")
            yield str(base / name), fields[b"SHA256"]


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    return next((do(data) for magic, do in _DECOMPRESSED.items() if data.startswith(magic)), data)
