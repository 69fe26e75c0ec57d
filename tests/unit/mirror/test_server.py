"""A bundle answers as the origins would, in parts too, and says what it does not have."""

from collections.abc import Callable
from pathlib import Path

import bundles
import pytest

from bakehouse.mirror.server import NOT_THERE, Bundle, place_of

Ask = Callable[..., bundles.Answer]
DEB = "http://mirror.example/debian/pool/a+b_1%253a2~x.deb"


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("https://vendor.example/a/key.asc", "https/vendor.example/a/key.asc"),
        ("http://mirror.example:8080//a%20b", "http/mirror.example:8080/a b"),
        ("http://mirror.example/p/1%253a2.deb", "http/mirror.example/p/1%3a2.deb"),
        ("http://mirror.example/p/?x=1", "http/mirror.example/p/index.html?x=1"),
        ("/https/vendor.example/key", "https/vendor.example/key"),
        ("https://vendor.example/apt/./a.deb", "https/vendor.example/apt/a.deb"),
        ("/simple/torch/", "simple/torch/index.html"),
        ("/../manifest.json", ""),
        ("/a/%2e%2e/b", ""),
        ("/a\0b", ""),
        ("", ""),
    ],
)
def test_every_address_has_one_place(address: str, place: str) -> None:
    assert place_of(address) == place


def test_as_a_mirror_and_as_a_proxy_it_gives_the_same_file(ask: Ask) -> None:
    assert ask(DEB).body == ask("/http/mirror.example/debian/pool/a+b_1%253a2~x.deb").body
    assert ask("/https/vendor.example/key.asc").body == b"the key"
    assert ask("/simple/tiny/").body == ask("/simple/tiny").body == b"<a>"


def test_a_head_has_the_length_and_no_content(ask: Ask) -> None:
    answer = ask(DEB, "HEAD")
    assert (answer.headers["Content-Length"], answer.body) == ("10", b"")


@pytest.mark.parametrize(
    ("asked", "status", "told", "body"),
    [
        ("bytes=4-", 206, "bytes 4-9/10", b"456789"),
        ("bytes=2-3", 206, "bytes 2-3/10", b"23"),
        ("bytes=2-99", 206, "bytes 2-9/10", b"23456789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=0-", 200, None, b"0123456789"),
        ("bytes=0-1,4-5", 200, None, b"0123456789"),
        ("bytes=10-", 416, "bytes */10", b""),
    ],
)
def test_a_part_is_what_was_asked_for(
    ask: Ask, asked: str, status: int, told: str | None, body: bytes
) -> None:
    answer = ask(DEB, Range=asked)
    assert (answer.status, answer.headers.get("Content-Range")) == (status, told)
    assert answer.body == body


def test_a_part_of_another_file_is_the_whole_new_one(ask: Ask) -> None:
    same = ask(DEB).headers
    for validator in (same["ETag"], same["Last-Modified"]):
        assert ask(DEB, Range="bytes=4-", If_Range=validator).body == b"456789"
    assert ask(DEB, Range="bytes=4-", If_Range='"other"').body == b"0123456789"


def test_what_is_missing_is_told_and_remembered(ask: Ask, bundle: Bundle) -> None:
    answer = ask("http://mirror.example/debian/pool/c.deb")
    assert (answer.status, answer.reason) == (404, NOT_THERE)
    assert bundle.misses == ["http://mirror.example/debian/pool/c.deb"]


def test_what_the_origin_did_not_have_either_is_no_miss(folder: Path, ask: Ask) -> None:
    bundles.make(folder, {}, absent=("http/mirror.example/Release.gpg",))
    bundle = Bundle.opened(folder)
    assert bundle.absent == {"http/mirror.example/Release.gpg"}
    assert ask("/x").reason == NOT_THERE


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/simple/%2e%2e/%2e%2e/x", "/https/../x"])
def test_nothing_outside_of_the_bundle_is_served(ask: Ask, folder: Path, path: str) -> None:
    (folder.parent / "x").write_text("outside")
    assert ask(path).status == 404
