"""Bundles of a few files, and clients of their servers."""

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import bundles
import pytest

from bakehouse.mirror.server import Bundle, serving

Ask = Callable[..., bundles.Answer]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle of three files."""
    return bundles.make(
        tmp_path / "bundle",
        {
            "https/vendor.example/key.asc": b"the key",
            "http/mirror.example/debian/pool/a+b_1%3a2~x.deb": b"0123456789",
            "simple/tiny/index.html": b"<a>",
        },
    )


@pytest.fixture
def bundle(folder: Path) -> Bundle:
    """The same, opened."""
    return Bundle.opened(folder)


@pytest.fixture
def ask(bundle: Bundle) -> Iterator[Ask]:
    """Ask a server of the bundle, over one connection."""
    with serving(bundle, "127.0.0.1") as address:
        connection = http.client.HTTPConnection(str(urlsplit(address).netloc), timeout=10)

        def answer(path: str, method: str = "GET", **headers: str) -> bundles.Answer:
            return bundles.ask(connection, path, method, **headers)

        yield answer
        connection.close()
