"""Recorded packages are compared with the lists that apt verified."""

import gzip
import hashlib
import lzma
from pathlib import Path

import pytest

from bakehouse.mirror import apt_indexes

DEB = b"a package"


def listing(name: str, content: bytes = DEB) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    return f"Package: tool\nFilename: {name}\nSHA256: {digest}\n\n".encode()


def write(root: Path, place: str, content: bytes) -> Path:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with suites, whose list has the name of its digest, and a flat one."""
    content = lzma.compress(listing("pool/tool_1.deb"))
    by_hash = "http/m/debian/dists/stable/main/binary-amd64/by-hash/SHA256"
    write(tmp_path, f"{by_hash}/{hashlib.sha256(content).hexdigest()}", content)
    write(tmp_path, "http/m/debian/pool/tool_1.deb", DEB)
    write(tmp_path, "https/v/repo/Packages.gz", gzip.compress(listing("./tool_2.deb")))
    write(tmp_path, "https/v/repo/tool_2.deb", DEB)
    return tmp_path


def test_what_the_lists_promise_is_right(root: Path) -> None:
    assert apt_indexes.wrong(root) == {}


@pytest.mark.parametrize("place", ["http/m/debian/pool/tool_1.deb", "https/v/repo/tool_2.deb"])
def test_an_altered_package_is_wrong(root: Path, place: str) -> None:
    write(root, place, b"A package")
    assert list(apt_indexes.wrong(root)) == [place]


def test_an_altered_list_is_wrong_by_its_name(root: Path) -> None:
    path = next(root.rglob("by-hash/SHA256/*"))
    path.write_bytes(lzma.compress(listing("pool/tool_1.deb", b"other")))
    assert str(path.relative_to(root)) in apt_indexes.wrong(root)


def test_a_list_that_was_out_of_date_when_it_was_fetched_is_wrong(root: Path) -> None:
    for name, date in {
        "old": "Mon, 23 Nov 2020 11:22:37 UTC",
        "new": "Mon, 23 Nov 2099 11:22:37 UTC",
    }.items():
        write(root, f"http/m/{name}/InRelease", f"Suite: x\nValid-Until: {date}\n".encode())
    places = {"http/m/old/InRelease", "http/m/new/InRelease", "http/m/debian/pool/tool_1.deb"}
    assert list(apt_indexes.expired(root, places)) == ["http/m/old/InRelease"]
    assert apt_indexes.expired(root, {"http/m/new/InRelease"}) == {}


def test_a_package_in_no_list_is_wrong_unless_something_else_verifies_it(root: Path) -> None:
    write(root, "https/v/files/tool.deb", DEB)
    assert list(apt_indexes.wrong(root)) == ["https/v/files/tool.deb"]
    assert apt_indexes.wrong(root, {"https/v/files/tool.deb"}) == {}
