"""The recording mirror keeps what was whole, and nothing else."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import bundles
import pytest
import servers

from bakehouse.mirror.recorder import Recording, RecordingHandler
from bakehouse.mirror.server import NOT_THERE, serving
from bakehouse.stacks.download import Policy

DEB = "http://mirror.example/pool/tool_1.deb"
PLACE = "http/mirror.example/pool/tool_1.deb"


@pytest.fixture
def origin() -> Iterator[servers.Server]:
    with servers.serving() as server:
        server.files["/pool/tool_1.deb"] = b"a package" * 100
        yield server


@pytest.fixture
def recording(tmp_path: Path, origin: servers.Server) -> Recording:
    (tmp_path / "part").mkdir()
    mirrors = {
        "http://mirror.example/": f"http://{origin.address}/",
        "https://vendor.example/": f"http://{origin.address}/",
        "http://gone.example/": "http://127.0.0.1:9/",
    }
    return Recording(
        root=tmp_path / "part",
        origins_allowed=frozenset(mirrors),
        policy=Policy(mirrors=mirrors),
        now="image tiny",
    )


@pytest.fixture
def client(recording: Recording) -> Iterator[http.client.HTTPConnection]:
    with serving(recording, "127.0.0.1", RecordingHandler) as address:
        connection = http.client.HTTPConnection(str(urlsplit(address).netloc), timeout=30)
        yield connection
        connection.close()


def test_it_passes_on_keeps_and_does_not_ask_twice(
    recording: Recording, client: http.client.HTTPConnection, origin: servers.Server
) -> None:
    first = bundles.ask(client, DEB)
    assert (first.status, first.body) == (200, b"a package" * 100)
    recording.now = "image other"
    assert bundles.ask(client, DEB).body == first.body
    assert origin.asked == ["/pool/tool_1.deb"]
    assert (recording.root / PLACE).read_bytes() == first.body
    assert recording.wanted[PLACE] == {"image tiny", "image other"}
    assert (recording.origins[PLACE], recording.fetched) == (DEB, {PLACE})
    assert not list(recording.root.rglob("*.part"))


def test_an_address_of_its_own_is_that_of_the_origin(
    recording: Recording, client: http.client.HTTPConnection, origin: servers.Server
) -> None:
    origin.files["/key.asc"] = b"key"
    assert bundles.ask(client, "/https/vendor.example/key.asc").body == b"key"
    assert recording.origins["https/vendor.example/key.asc"] == "https://vendor.example/key.asc"


def test_what_the_origin_does_not_have_is_remembered_as_absent(
    recording: Recording, client: http.client.HTTPConnection
) -> None:
    assert bundles.ask(client, "http://mirror.example/Release.gpg").status == 404
    assert recording.absent == {"http/mirror.example/Release.gpg"}
    assert (recording.failures, dict(recording.wanted)) == ([], {})


def test_a_host_that_is_no_origin_is_not_asked(
    recording: Recording, client: http.client.HTTPConnection, origin: servers.Server
) -> None:
    """Containers reach the mirror, and must not reach this machine's loopback by it."""
    assert bundles.ask(client, f"http://{origin.address}/pool/tool_1.deb").status == 403
    assert origin.asked == []
    assert "names this host" in recording.failures[0]


def test_half_a_file_is_not_kept(
    recording: Recording, client: http.client.HTTPConnection, origin: servers.Server
) -> None:
    origin.cut_off.add("/pool/tool_1.deb")
    with pytest.raises(http.client.IncompleteRead):
        bundles.ask(client, DEB)
    assert not [path for path in recording.root.rglob("*") if path.is_file()]
    client.close()
    origin.cut_off.clear()
    assert bundles.ask(client, DEB).body == b"a package" * 100


def test_an_origin_that_does_not_answer_is_a_failure(
    recording: Recording, client: http.client.HTTPConnection
) -> None:
    assert bundles.ask(client, "http://gone.example/x.deb").status == 502
    assert [line.partition(": ")[0] for line in recording.failures] == ["http://gone.example/x.deb"]


def test_what_is_encrypted_or_no_address_is_refused(
    recording: Recording, client: http.client.HTTPConnection
) -> None:
    assert bundles.ask(client, "vendor.example:443", "CONNECT").status == 501
    assert "cannot be recorded" in recording.failures[0]
    client.close()
    assert bundles.ask(client, "/favicon.ico").reason == NOT_THERE
