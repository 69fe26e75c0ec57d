"""git's own hash of what an archive of a commit holds, computed without git.

A commit's id covers the hash of its tree, and that covers every path, mode and byte. So what a host
of repositories packs can be verified by the commit, however it is compressed.
"""

import hashlib
import tarfile
import zlib
from pathlib import Path, PurePosixPath

Tree = dict[str, "bytes | Tree"]
"""Name to a file's entry, or to what is below a folder."""


def of(archive: Path) -> str:
    """The hash of the tree in an archive as `git archive --prefix` makes it, below its one folder.

    Says what is wrong, in the place of a hash, about a file that is no such archive.
    """
    try:
        with tarfile.open(archive) as opened:
            tree = _read(opened)
            _read_to_end(opened)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        return f"no archive of a commit ({error})"
    return _hash_of_tree(tree).hex()


def _read_to_end(archive: tarfile.TarFile) -> None:
    """The checksum of the compression stands behind what tar reads."""
    assert archive.fileobj is not None
    while archive.fileobj.read(1 << 20):
        pass


def _read(archive: tarfile.TarFile) -> Tree:
    root: Tree = {}
    for member in archive:
        first, *rest = PurePosixPath(member.name).parts or ("",)
        if rest and not member.isdir():
            _put(root, [first, *rest], _entry(archive, member))
        elif not member.isdir():
            raise ValueError(f"{member.name} is in no folder")
    if len(root) != 1:
        raise ValueError(f"{len(root)} folders at the top")
    (tree,) = root.values()
    assert isinstance(tree, dict)
    return tree


def _put(root: Tree, path: list[str], entry: bytes) -> None:
    *folders, name = path
    place = root
    for folder in folders:
        below = place.setdefault(folder, {})
        if not isinstance(below, dict):
            raise ValueError(f"{'/'.join(path)} is below a file")
        place = below
    if name in place or {"..", "/"} & set(path):
        raise ValueError(f"{'/'.join(path)} is there twice, or elsewhere")
    place[name] = entry


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Mode and hash of a file or symbolic link."""
    if member.issym():
        return b"120000 " + _hash("blob", member.linkname.encode())
    content = archive.extractfile(member)
    if not member.isfile() or content is None:
        raise ValueError(f"{member.name} is neither a file nor a symbolic link")
    mode = b"100755 " if member.mode & 0o100 else b"100644 "
    return mode + _hash("blob", content.read())


def _hash_of_tree(tree: Tree) -> bytes:
    lines = {}
    for name, entry in tree.items():
        encoded = name.encode("utf-8", "surrogateescape")
        if isinstance(entry, dict):
            # git sorts a folder as if its name ended with a slash.
            lines[encoded + b"/"] = b"40000 " + encoded + b"\0" + _hash_of_tree(entry)
        else:
            mode, digest = entry.split(b" ", maxsplit=1)
            lines[encoded] = mode + b" " + encoded + b"\0" + digest
    return _hash("tree", b"".join(lines[key] for key in sorted(lines)))


def _hash(kind: str, content: bytes) -> bytes:
    head = f"{kind} {len(content)}\0".encode()
    return hashlib.sha1(head + content, usedforsecurity=False).digest()  # git's choice, not ours
