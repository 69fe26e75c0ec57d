"""The download module of the role fetch, against a server on this machine that behaves badly."""

import base64
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bakehouse.layout import ROLES

LIBRARY = ROLES / "fetch" / "library"
CONTENT = bytes(range(256)) * 1024
SHA256 = hashlib.sha256(CONTENT).hexdigest()

# Two keys that gpg made for this test.
KEY = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawTkURYJKwYBBAHaRw8BAQdAj1Qx2hU2DZqBLzA9bs/QIkExhDD//q6+g7Bu
qWfBVMS0DnZlbmRvci5leGFtcGxliJAEExYIADgWIQRI4LLi4RZwKcpuQ6VWd2VH
nZwF+QUCawTkUQIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRBWd2VHnZwF
+aPaAP4oEd0tovR9fdppiTmU/fOGbzM5BqNKlW+Q2R4Y9mo3CgEA4ZsFPEpa0Q/w
GaV/4agNPU6fYDrKXYFp/myRJMdpSgU=
=LRMS
-----END PGP PUBLIC KEY BLOCK-----
"""
FINGERPRINT = "48E0B2E2E1167029CA6E43A5567765479D9C05F9"
OTHER_KEY = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawTkURYJKwYBBAHaRw8BAQdAmiLenxtaqRIpB5ZbZ56klcn1WYkVfSbm3CuQ
fBg9fAm0EHN0cmFuZ2VyLmV4YW1wbGWIkAQTFggAOBYhBN7gUyaXmOdqU7MwY0wC
Yh+ZNCEOBQJrBORRAhsDBQsJCAcCBhUKCQgLAgQWAgMBAh4BAheAAAoJEEwCYh+Z
NCEONYgBALuHnNt+wg4TrOvrWhzaFimfh1Z1cd4E4mukMOyhdIXjAP93Ti3YV0Zn
PptDXCN/F+SoYhBpJvbReXzBOFMJ+HxjBA==
=sybv
-----END PGP PUBLIC KEY BLOCK-----
"""
OTHER_FINGERPRINT = "DEE053269798E76A53B330634C02621F9934210E"


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


def imported(path: Path) -> ModuleType:
    """A file of the role, imported as it stands: Ansible's plugins are in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="session")
def module() -> ModuleType:
    return imported(LIBRARY / "verified_download.py")


@pytest.fixture
def fetch(module: ModuleType, vendor: Vendor, tmp_path: Path) -> Callable[..., dict[str, int]]:
    """Fetch `tool` from the vendor, without waiting between attempts."""

    def run(**options: Any) -> dict[str, int]:
        given = {"attempts": 3, "backoff_s": 0.0, "timeout_s": 5.0, "expected": SHA256} | options
        result: dict[str, int] = module.fetch(
            url=f"{vendor.url}/tool", dest=tmp_path / "tool", **given
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
    module: ModuleType,
    fetch: Callable[..., dict[str, int]],
    vendor: Vendor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    vendor.answers = [status(503), status(429), status(500), whole]
    assert fetch(attempts=4, backoff_s=1.0)["attempts"] == 4
    assert waits == [1.0, 2.0, 4.0]


def test_nobody_listening_ends_after_the_given_attempts(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    with pytest.raises(module.DownloadError, match="refused; gave up after 3 attempts"):
        module.fetch(
            url="http://127.0.0.1:9/tool",
            expected=SHA256,
            dest=tmp_path / "tool",
            attempts=3,
            backoff_s=1.0,
            timeout_s=5.0,
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
        attempts=1,
        backoff_s=0.0,
        timeout_s=5.0,
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
def test_the_longest_prefix_decides_the_mirror(url: str, expected: str) -> None:
    mirrors = {
        "https://vendor.example/": "http://mirror/",
        "https://vendor.example/b/": "file:///mnt/",
    }
    mirrored = imported(ROLES / "fetch" / "filter_plugins" / "mirrored.py").mirrored
    assert mirrored(url, mirrors) == expected


def binary(armoured: str) -> bytes:
    lines = [line for line in armoured.splitlines() if line and line[0] not in "-="]
    return base64.b64decode("".join(lines))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (KEY.encode(), FINGERPRINT),
        (KEY.replace("\n", "\r\n").encode(), FINGERPRINT),
        (binary(KEY), FINGERPRINT),
        ((KEY + OTHER_KEY).encode(), f"{FINGERPRINT}, {OTHER_FINGERPRINT}"),
        (binary(KEY) + binary(OTHER_KEY), f"{FINGERPRINT}, {OTHER_FINGERPRINT}"),
        (b"", ""),
        (b"<html>Not found</html>", "of something that is not a key"),
        (binary(KEY)[:-5], "of something that is not a key"),
    ],
    ids=["armour", "windows", "binary", "two blocks", "two keys", "empty", "page", "cut off"],
)
def test_a_key_is_known_by_its_fingerprint(
    module: ModuleType, tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / "key").write_bytes(content)
    assert module.fingerprints(tmp_path / "key") == expected


def test_a_file_with_a_second_key_is_refused(module: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "served").write_text(KEY + OTHER_KEY, encoding="utf-8")
    with pytest.raises(module.DownloadError, match=OTHER_FINGERPRINT):
        module.fetch(
            url=(tmp_path / "served").as_uri(),
            expected=FINGERPRINT,
            dest=tmp_path / "key",
            attempts=1,
            backoff_s=0.0,
            timeout_s=5.0,
            identify=module.fingerprints,
        )
    assert names(tmp_path) == ["served"]


def run_in_ansible(*options: str, **arguments: Any) -> dict[str, Any]:
    """Run the module as Ansible does, and return its result."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible"),
            "localhost",
            "--one-line",
            f"--module-path={LIBRARY}",
            "--module-name=verified_download",
            f"--args={json.dumps(arguments)}",
            *options,
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"ANSIBLE_STDOUT_CALLBACK": "oneline", "NO_COLOR": "1"},
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return result


def test_ansible_downloads_once_and_then_changes_nothing(vendor: Vendor, tmp_path: Path) -> None:
    vendor.answers = [whole]
    given = {
        "url": f"{vendor.url}/tool",
        "sha256": SHA256.upper(),
        "dest": str(tmp_path / "new" / "tool"),
    }
    assert run_in_ansible("--check", **given)["changed"] is True
    assert names(tmp_path) == []
    assert run_in_ansible(**given)["changed"] is True
    assert run_in_ansible(**given)["changed"] is False
    assert len(vendor.paths) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "https://vendor.example/x", "sha256": "abc"}, "64 hexadecimal digits"),
        ({"url": "https://vendor.example/x", "fingerprint": "abc"}, "40 hexadecimal digits"),
        ({"url": "https://vendor.example/x"}, "one of the following is required"),
        ({"url": "ftp://vendor.example/x", "sha256": SHA256}, "must begin with https"),
        ({"url": "file:///does/not/exist", "sha256": SHA256}, "No such file"),
    ],
)
def test_ansible_hears_what_is_wrong(
    arguments: dict[str, str], message: str, tmp_path: Path
) -> None:
    result = run_in_ansible(**arguments, dest=str(tmp_path / "tool"))
    assert message in result["msg"]
    assert names(tmp_path) == []
