"""Downloads to this machine: whole and the promised ones, or none."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bakehouse.errors import DownloadError, HostError
from bakehouse.stacks import download
from bakehouse.stacks.download import Policy

CONTENT = bytes(range(256)) * 40
SHA256 = download.digest_of(CONTENT)
THIRD = len(CONTENT) // 3
QUICK = Policy(attempts=3, backoff_s=0.0, timeout_s=5.0)

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Vendor:
    """Answers in turn, the last one for ever; and the ranges that were asked for."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)


def sent(
    content: bytes = CONTENT, *, promised: int | str = "", tag: str = "", ranges: bool = True
) -> Answer:
    """An answer as good servers give it, but for what the arguments say."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked, known = handler.headers.get("Range"), handler.headers.get("If-Range")
        start = int(asked[6:-1]) if asked and ranges and known in {None, tag} else 0
        if start and start >= len(content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(content)}")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            last = len(content) - 1
            handler.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        if tag:
            handler.send_header("ETag", tag)
        handler.send_header("Content-Length", str(promised or len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start:])

    return answer


def status(code: int) -> Answer:
    """An error."""
    return lambda handler: handler.send_error(code)


CUT_OFF = sent(CONTENT[:THIRD], promised=len(CONTENT), ranges=False)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    state = Vendor()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.ranges.append(self.headers.get("Range"))
            answer = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        state.url = f"http://127.0.0.1:{server.server_port}/tool"
        yield state
        server.shutdown()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the file is to be."""
    return tmp_path / "new" / "tool"


def left(place: Path) -> list[str]:
    return sorted(path.name for path in place.parent.iterdir())


def fetched(vendor: Vendor, place: Path, policy: Policy = QUICK) -> None:
    """Fetch, and see that the file is there and nothing else."""
    assert download.fetch(vendor.url, place, sha256=SHA256, policy=policy) == place
    assert place.read_bytes() == CONTENT
    assert left(place) == ["tool"]


def test_a_whole_file_arrives_and_is_not_asked_for_again(vendor: Vendor, place: Path) -> None:
    vendor.answers = [sent()]
    fetched(vendor, place)
    fetched(vendor, place)
    assert vendor.ranges == [None]


def test_a_file_that_was_altered_at_its_place_is_fetched_again(vendor: Vendor, place: Path) -> None:
    vendor.answers = [sent()]
    fetched(vendor, place)
    place.write_bytes(CONTENT[:-1] + b"x")
    fetched(vendor, place)
    assert len(vendor.ranges) == 2


ALTERED = {
    "first byte": bytes([CONTENT[0] ^ 1]) + CONTENT[1:],
    "middle byte": CONTENT[:5000] + bytes([CONTENT[5000] ^ 0x80]) + CONTENT[5001:],
    "last byte": CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]),
    "one byte more": CONTENT + b"\n",
    "one byte less": CONTENT[:-1],
    "nothing": b"",
    "an error page": b"<html>Not found</html>",
}


@pytest.mark.parametrize("altered", ALTERED)
def test_an_altered_file_fails_naming_both_digests_and_leaves_nothing(
    vendor: Vendor, place: Path, altered: str
) -> None:
    vendor.answers = [sent(ALTERED[altered])]
    with pytest.raises(DownloadError, match="wrong checksum") as refused:
        download.fetch(vendor.url, place, sha256=SHA256, policy=QUICK)
    found = download.digest_of(ALTERED[altered])
    assert f"expected {SHA256}, found {found}" in str(refused.value)
    assert refused.value.where == vendor.url
    assert "do not use this file" in refused.value.remedy
    assert left(place) == []


def test_what_was_cut_off_is_resumed_where_it_ended(vendor: Vendor, place: Path) -> None:
    vendor.answers = [CUT_OFF, sent()]
    fetched(vendor, place)
    assert vendor.ranges == [None, f"bytes={THIRD}-"]


def test_a_later_call_resumes_what_an_earlier_one_began(vendor: Vendor, place: Path) -> None:
    vendor.answers = [CUT_OFF]
    with pytest.raises(DownloadError, match=f"ended after {THIRD} of {len(CONTENT)} bytes"):
        download.fetch(vendor.url, place, sha256=SHA256, policy=Policy(attempts=1))
    assert not place.exists()
    vendor.answers = [sent()]
    fetched(vendor, place)
    assert vendor.ranges == [None, f"bytes={THIRD}-"]


def test_a_file_that_changed_between_two_attempts_is_read_from_its_start(
    vendor: Vendor, place: Path
) -> None:
    old = sent(b"x" * THIRD, promised=len(CONTENT), tag='"old"', ranges=False)
    vendor.answers = [old, sent(tag='"new"')]
    fetched(vendor, place)
    assert len(vendor.ranges) == 2


def test_a_server_without_ranges_is_read_from_the_start(vendor: Vendor, place: Path) -> None:
    vendor.answers = [CUT_OFF, sent(ranges=False)]
    fetched(vendor, place)


@pytest.mark.parametrize("part", [b"something else", b"x" * len(CONTENT), b"x" * 20000, CONTENT])
def test_what_an_earlier_call_left_is_used_only_if_it_fits(
    vendor: Vendor, place: Path, part: bytes
) -> None:
    place.parent.mkdir()
    place.with_name(f".tool.{SHA256[:12]}.part").write_bytes(part)
    vendor.answers = [sent()]
    fetched(vendor, place)


def test_what_is_not_there_is_not_asked_for_twice(vendor: Vendor, place: Path) -> None:
    vendor.answers = [status(404)]
    with pytest.raises(DownloadError, match="the server answered 404"):
        download.fetch(vendor.url, place, sha256=SHA256, policy=QUICK)
    assert len(vendor.ranges) == 1
    assert left(place) == []


def test_a_busy_server_is_asked_again_after_longer_and_longer_waits(
    vendor: Vendor, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    vendor.answers = [status(503), status(429), status(500), sent()]
    fetched(vendor, place, Policy(attempts=4, backoff_s=1.0))
    assert waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("length", ["many", "-1", "1.5"])
def test_a_length_that_is_no_number_is_not_believed(
    vendor: Vendor, place: Path, length: str
) -> None:
    vendor.answers = [sent(promised=length)]
    fetched(vendor, place)


ADDRESSES = {
    "https://[vendor.example/tool": "this is no address",
    "https://vendor.example:9x/tool": "this is no address",
    "http://127.0.0.1:9/\u00e4": "this is no address",
    "/srv/mirror/tool": "this is no address",
    "tool": "this is no address",
    "http:///tool": "no host given",
    "gopher://127.0.0.1/tool": "unknown url type",
    "file:///does/not/exist": "No such file",
    "file:///": "Is a directory",
}  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_cannot_be_an_address_is_told_at_once(
    address: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    with pytest.raises(DownloadError, match=ADDRESSES[address]) as refused:
        download.fetch(address, place, sha256=SHA256)
    assert refused.value.where == address
    assert "--mirror" in refused.value.remedy
    assert waits == []
    assert left(place) == []


def test_the_longest_prefix_with_a_mirror_is_replaced(vendor: Vendor, place: Path) -> None:
    mirrors = {"https://v.example/": "file:///nope/", "https://v.example/a": vendor.url[:-5]}
    vendor.answers = [sent()]
    policy = Policy(mirrors=mirrors, attempts=1)
    assert download.fetch("https://v.example/a/tool", place, sha256=SHA256, policy=policy) == place


def test_a_place_that_cannot_be_written_is_the_fault_of_this_machine(
    vendor: Vendor, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    vendor.answers = [sent()]
    with pytest.raises(HostError, match="cannot write"):
        download.fetch(vendor.url, tmp_path / "file" / "tool", sha256=SHA256, policy=QUICK)


def test_what_has_arrived_is_told(vendor: Vendor, place: Path) -> None:
    told: list[tuple[int, int | None]] = []
    vendor.answers = [CUT_OFF, sent()]
    watched = Policy(backoff_s=0.0, watcher=lambda *now: told.append(now))
    fetched(vendor, place, watched)
    assert told == [(THIRD, len(CONTENT)), (len(CONTENT), len(CONTENT))]


def test_a_small_thing_is_small(vendor: Vendor) -> None:
    vendor.answers = [sent()]
    assert download.content(vendor.url, QUICK) == CONTENT
    vendor.answers = [sent(b"x" * (download.CHUNK_BYTES + 1))]
    with pytest.raises(DownloadError, match="more than"):
        download.content(vendor.url, QUICK)
