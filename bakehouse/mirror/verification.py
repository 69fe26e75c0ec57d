"""Whether a bundle is what its manifest says: every file there, none altered, none besides."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bakehouse import layout
from bakehouse.errors import DownloadError
from bakehouse.mirror.manifest import CREATE_AGAIN, File, Manifest
from bakehouse.mirror.server import MANIFEST
from bakehouse.stacks import download

_SHOWN = 10


def findings(folder: Path, manifest: Manifest) -> list[str]:
    """What is wrong with the files of a bundle, a line each; every file is read."""
    known = {file.path for file in manifest.files}
    strange = sorted(set(paths(folder)) - known - {MANIFEST})
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        told = pool.map(lambda file: _finding(folder, file), manifest.files)
        found = [line for line in told if line]
    return [*found, *(f"{path}: not in the manifest" for path in strange)]


def refuse_broken(folder: Path, manifest: Manifest) -> None:
    """Refuse a bundle that is not what its manifest says.

    What was verified once is not read again while size, time and inode stay.

    Raises:
        DownloadError: A file is missing, altered, or not in the manifest; names it.
    """
    memory = layout.STATE / "mirror" / "verified.json"
    state = _state(folder, manifest)
    try:
        verified = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        verified = {}
    if state and verified.get(str(folder.resolve())) == state:
        return
    found = findings(folder, manifest)
    if found:
        more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        listing = "\n".join(f"  {line}" for line in found[:_SHOWN])
        raise DownloadError(
            f"the bundle is not what its manifest says:\n{listing}{more}",
            where=str(folder),
            remedy=f"copy the bundle anew, or, {CREATE_AGAIN}",
        )
    memory.parent.mkdir(parents=True, exist_ok=True)
    temporary = memory.with_suffix(".part")
    temporary.write_text(json.dumps({**verified, str(folder.resolve()): state}), encoding="utf-8")
    temporary.replace(memory)


def paths(folder: Path) -> Iterator[str]:
    """Every file below a folder, by its path inside it."""
    for parent, _folders, names in os.walk(folder):
        for name in names:
            yield str(Path(parent, name).relative_to(folder))


def _finding(folder: Path, file: File) -> str:
    path = folder / file.path
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"{file.path}: has {size} bytes, not {file.size} ({file.origin})"
        found = download.digest(path)
    except OSError:
        return f"{file.path}: missing ({file.origin}, for {', '.join(file.wanted_by)})"
    if found != file.sha256:
        return f"{file.path}: altered: expected {file.sha256}, found {found} ({file.origin})"
    return ""


def _state(folder: Path, manifest: Manifest) -> str:
    """Digest of what the file system says of each file; empty where one is missing."""
    told = []
    try:
        for name in (MANIFEST, *sorted(paths(folder))):
            about = (folder / name).stat()
            told.append(f"{name} {about.st_size} {about.st_mtime_ns} {about.st_ino}")
    except OSError:
        return ""
    return download.digest_of("\n".join([*told, str(len(manifest.files))]).encode())
