"""The download module of the role fetch, against a server on this machine that behaves badly."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CONTENT = bytes(range(256)) * 1024
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass(kw_only=True)
class Vendor:
    """A server whose answers a test prepares, and the requests that it saw."""

    url: str = ""
    answers: list[Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def whole(handler: BaseHTTPRequestHandler) -> None:
    """Answer as a good server does, ranges included."""
    start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
    if start >= len(CONTENT):
        handler.send_error(416)
        return
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
    handler.send_header("Content-Length", str(len(CONTENT) - start))
    handler.end_headers()
    handler.wfile.write(CONTENT[start:])


def without_ranges(handler: BaseHTTPRequestHandler) -> None:
    """Answer with everything, whatever was asked."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT)


def cut_off(handler: BaseHTTPRequestHandler) -> None:
    """Promise everything, send a third."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT[: len(CONTENT) // 3])


def flipped(handler: BaseHTTPRequestHandler) -> None:
    """Send the file with one bit changed."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT[:1000] + bytes([CONTENT[1000] ^ 1]) + CONTENT[1001:])


def status(code: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer with an error."""
    return lambda handler: handler.send_error(code)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """Serve the prepared answers in turn, the last one for ever."""
    state = Vendor()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.ranges.append(self.headers.get("Range"))
            state.paths.append(self.path)
            answer = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def fetch(module: ModuleType, vendor: Vendor, tmp_path: Path) -> Callable[..., dict[str, int]]:
    """Fetch `tool` from the vendor, without waiting between attempts."""

    def run(**options: Any) -> dict[str, int]:
        patience = module.Patience(**{"attempts": 3, "backoff_s": 0.0, "timeout_s": 5.0} | options)
        result: dict[str, int] = module.fetch(
            url=f"{vendor.url}/tool", dest=tmp_path / "tool", expected=SHA256, patience=patience
        )
        return result

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file_arrives(
    fetch: Callable[..., dict[str, int]], vendor: Vendor, tmp_path: Path
) -> None:
    vendor.answers = [whole]
    assert fetch() == {"attempts": 1, "resumed_at": 0}
    assert (tmp_path / "tool").read_bytes() == CONTENT
    assert names(tmp_path) == ["tool"]


def test_a_download_that_was_cut_off_is_resumed_where_it_ended(
    fetch: Callable[..., dict[str, int]], vendor: Vendor, tmp_path: Path
) -> None:
    vendor.answers = [cut_off, whole]
    third = len(CONTENT) // 3
    assert fetch() == {"attempts": 2, "resumed_at": third}
    assert vendor.ranges == [None, f"bytes={third}-"]
    assert (tmp_path / "tool").read_bytes() == CONTENT


def test_a_later_run_resumes_what_an_earlier_one_began(
    module: ModuleType,
    fetch: Callable[..., dict[str, int]],
    vendor: Vendor,
    tmp_path: Path,
) -> None:
    vendor.answers = [cut_off]
    with pytest.raises(module.DownloadError, match=r"ended after .* gave up after 1 attempts"):
        fetch(attempts=1)
    assert not (tmp_path / "tool").exists()
    vendor.answers = [whole]
    assert fetch()["resumed_at"] == len(CONTENT) // 3
    assert names(tmp_path) == ["tool"]


def test_a_server_without_ranges_is_read_from_the_start(
    fetch: Callable[..., dict[str, int]], vendor: Vendor, tmp_path: Path
) -> None:
    vendor.answers = [cut_off, without_ranges]
    assert fetch() == {"attempts": 2, "resumed_at": 0}
    assert (tmp_path / "tool").read_bytes() == CONTENT


def test_a_part_of_another_file_is_thrown_away(
    module: ModuleType, fetch: Callable[..., dict[str, int]], vendor: Vendor, tmp_path: Path
) -> None:
    module.part_of(tmp_path / "tool", SHA256).write_bytes(b"something else")
    vendor.answers = [whole]
    assert fetch(attempts=1) == {"attempts": 1, "resumed_at": 0}
    assert (tmp_path / "tool").read_bytes() == CONTENT


def test_a_part_that_is_already_whole_is_kept(
    module: ModuleType, fetch: Callable[..., dict[str, int]], vendor: Vendor, tmp_path: Path
) -> None:
    module.part_of(tmp_path / "tool", SHA256).write_bytes(CONTENT)
    vendor.answers = [whole]
    fetch()
    assert (tmp_path / "tool").read_bytes() == CONTENT


def test_one_flipped_bit_fails_naming_both_digests_and_leaves_nothing(
    module: ModuleType, fetch: Callable[..., dict[str, int]], vendor: Vendor, tmp_path: Path
) -> None:
    vendor.answers = [flipped]
    with pytest.raises(module.DownloadError) as failure:
        fetch()
    found = hashlib.sha256(CONTENT[:1000] + bytes([CONTENT[1000] ^ 1]) + CONTENT[1001:])
    assert SHA256 in str(failure.value)
    assert found.hexdigest() in str(failure.value)
    assert names(tmp_path) == []


def test_a_file_that_is_not_there_is_not_asked_for_twice(
    module: ModuleType, fetch: Callable[..., dict[str, int]], vendor: Vendor, tmp_path: Path
) -> None:
    vendor.answers = [status(404)]
    with pytest.raises(module.DownloadError, match="404"):
        fetch()
    assert len(vendor.paths) == 1
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again_after_longer_and_longer_waits(
    fetch: Callable[..., dict[str, int]],
    vendor: Vendor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    vendor.answers = [status(503), status(429), status(500), whole]
    assert fetch(attempts=4, backoff_s=1.0)["attempts"] == 4
    assert waits == [1.0, 2.0, 4.0]


def test_nobody_listening_ends_after_the_given_attempts(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    with pytest.raises(module.DownloadError, match="refused; gave up after 3 attempts"):
        module.fetch(
            url="http://127.0.0.1:9/tool",
            expected=SHA256,
            dest=tmp_path / "tool",
            patience=module.Patience(3, 1.0, 5.0),
        )
    assert len(waits) == 2


def test_a_proxy_of_the_environment_is_used(
    module: ModuleType, vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", vendor.url)
    monkeypatch.delenv("no_proxy", raising=False)
    vendor.answers = [whole]
    module.fetch(
        url="http://vendor.example/tool",
        expected=SHA256,
        dest=tmp_path / "tool",
        patience=module.Patience(1, 0.0, 5.0),
    )
    assert vendor.paths == ["http://vendor.example/tool"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://vendor.example/a/tool", "http://mirror/a/tool"),
        ("https://vendor.example/b/tool", "file:///mnt/tool"),
        ("https://other.example/tool", "https://other.example/tool"),
    ],
)
def test_the_longest_prefix_decides_the_mirror(
    imported: Callable[[str], ModuleType], url: str, expected: str
) -> None:
    mirrors = {
        "https://vendor.example/": "http://mirror/",
        "https://vendor.example/b/": "file:///mnt/",
    }
    mirrored = imported("filter_plugins/mirrored.py").mirrored
    assert mirrored(url, mirrors) == expected
