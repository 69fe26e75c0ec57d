"""git's hash of a tree is found in an archive, and nothing can be altered without another hash."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import git_archives
import pytest
from git_archives import Committed

from bakehouse.stacks import git_tree

Member = tuple[tarfile.TarInfo, bytes]


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Committed:
    return git_archives.commit(tmp_path_factory.mktemp("git") / "repository")


def measured(folder: Path, content: bytes) -> str:
    path = folder / "archive"
    path.write_bytes(content)
    return git_tree.of(path)


def packed(members: list[Member], mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def unpacked(content: bytes) -> list[Member]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return [
            (member, file.read() if (file := archive.extractfile(member)) else b"")
            if member.isfile()
            else (member, b"")
            for member in archive
        ]


def named(members: list[Member], ending: str) -> int:
    return next(n for n, (member, _) in enumerate(members) if member.name.endswith(ending))


def test_it_is_what_git_says(committed: Committed, tmp_path: Path) -> None:
    assert measured(tmp_path, committed.archive) == committed.tree


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_how_it_is_packed_makes_no_difference(
    committed: Committed, tmp_path: Path, mode: str
) -> None:
    members = unpacked(committed.archive)
    for member, _ in members:
        member.mtime, member.uname = 7, "somebody"
    assert measured(tmp_path, packed(members[::-1], mode)) == committed.tree


def flip(members: list[Member]) -> None:
    place = named(members, "a/one")
    members[place] = (members[place][0], b"0\n")


def make_executable(members: list[Member]) -> None:
    members[named(members, "a/one")][0].mode = 0o755


def rename(members: list[Member]) -> None:
    members[named(members, "a-b")][0].name += "c"


def lead_elsewhere(members: list[Member]) -> None:
    members[named(members, "link")][0].linkname = "/etc/passwd"


def leave_out(members: list[Member]) -> None:
    del members[named(members, "a-b")]


def add(members: list[Member]) -> None:
    members.append((tarfile.TarInfo(f"{members[0][0].name.split('/')[0]}/more"), b""))


@pytest.mark.parametrize("alter", [flip, make_executable, rename, lead_elsewhere, leave_out, add])
def test_whatever_is_altered_the_hash_is_another(
    committed: Committed, tmp_path: Path, alter: Callable[[list[Member]], None]
) -> None:
    members = unpacked(committed.archive)
    alter(members)
    found = measured(tmp_path, packed(members))
    assert len(found) == 40
    assert found != committed.tree


def twice(members: list[Member]) -> None:
    """The second would be unpacked over the first."""
    members.append(members[named(members, "a/one")])


def outside(members: list[Member]) -> None:
    members.append((tarfile.TarInfo(f"{members[0][0].name.split('/')[0]}/../escaped"), b""))


def beside(members: list[Member]) -> None:
    members.append((tarfile.TarInfo("other/file"), b""))


def at_the_top(members: list[Member]) -> None:
    members.append((tarfile.TarInfo("file"), b""))


def below_a_file(members: list[Member]) -> None:
    members.append((tarfile.TarInfo(f"{members[named(members, 'a-b')][0].name}/x"), b""))


def device(members: list[Member]) -> None:
    member = tarfile.TarInfo(f"{members[0][0].name.split('/')[0]}/null")
    member.type = tarfile.CHRTYPE
    members.append((member, b""))


@pytest.mark.parametrize("alter", [twice, outside, beside, at_the_top, below_a_file, device])
def test_what_no_commit_holds_has_no_hash(
    committed: Committed, tmp_path: Path, alter: Callable[[list[Member]], None]
) -> None:
    members = unpacked(committed.archive)
    alter(members)
    assert measured(tmp_path, packed(members)).startswith("no archive of a commit (")


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_half_an_archive_is_none(committed: Committed, tmp_path: Path, length: int) -> None:
    part = committed.archive[:length]
    assert measured(tmp_path, part).startswith("no archive of a commit (")
