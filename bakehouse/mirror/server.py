"""Serves a bundle over HTTP: as a mirror with addresses of its own, and as a proxy for apt.

Standard library only, and Python 3.9: in a layer without a network the same file runs beside the
role, next to the bundle's files. `https://vendor.example/key` lies at `https/vendor.example/key`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_LAYER = "/tmp/bakehouse/mirror"  # noqa: S108 - a tmpfs of the container's own
PORT_IN_LAYER = 8642
MANIFEST = "manifest.json"
NOT_THERE = "not in the bundle"
CHUNK_BYTES = 1 << 18
_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")


@dataclass
class Bundle:
    """A folder that is served.

    Attributes:
        root: The folder.
        absent: Places that the origin did not have either, so that asking for them is no failure.
        misses: What was asked for and is not there, as it was asked.
        announces: Tell misses on standard error too.
    """

    root: Path
    absent: frozenset[str] | set[str] = frozenset()
    misses: list[str] = field(default_factory=list)
    announces: bool = False

    @classmethod
    def opened(cls, root: Path, *, announces: bool = False) -> Bundle:
        """The bundle in a folder, with what its manifest says was absent."""
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        return cls(root=root, absent=frozenset(manifest["absent"]), announces=announces)

    def file(self, place: str) -> Path | None:
        """The file at a place; None where there is none."""
        path = self.root / place
        if path.is_dir():
            path /= "index.html"
        return path if path.is_file() else None


def place_of(address: str) -> str:
    """Where the content of an address lies in a bundle; empty for an address that lies nowhere.

    Args:
        address: `http://host/path`, or the path of an address of the mirror's own.
    """
    parts = urlsplit(address)
    head = f"{parts.scheme}/{parts.netloc}" if parts.scheme else ""
    names = [name for name in f"{head}{unquote(parts.path)}".split("/") if name not in {"", "."}]
    if not names or ".." in names or "\0" in address:
        return ""
    if parts.path.endswith("/"):
        names.append("index.html")
    return "/".join(names) + (f"?{parts.query}" if parts.query else "")


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    bundle: Bundle

    def do_GET(self) -> None:
        """Answer a GET or HEAD request."""
        place = place_of(self.path)
        path = self.bundle.file(place) if place else None
        if path is not None:
            self.send_file(path)
        elif place in self.bundle.absent:
            self.send_error(404, "The origin does not have it")
        else:
            self.send_missing(place)

    do_HEAD = do_GET  # noqa: N815  the name is the base class's

    def send_missing(self, _place: str) -> None:
        """Answer a request for what is not there."""
        self.bundle.misses.append(self.path)
        if self.bundle.announces:
            print(f"{NOT_THERE}: {self.path}", file=sys.stderr, flush=True)
        self.send_error(404, NOT_THERE)

    def send_file(self, path: Path) -> None:
        """Send a file, or the part of it that was asked for."""
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            tag = f'"{about.st_size:x}-{about.st_mtime_ns:x}"'
            modified = formatdate(about.st_mtime, usegmt=True)
            first, end = 0, about.st_size
            if self.headers.get("If-Range") in (None, tag, modified):
                wanted = _range(self.headers.get("Range", ""), about.st_size)
                if wanted is None:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{about.st_size}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                first, end = wanted
            partial = (first, end) != (0, about.st_size)
            self.send_response(206 if partial else 200)
            if partial:
                self.send_header("Content-Range", f"bytes {first}-{end - 1}/{about.st_size}")
            self.send_header("Content-Length", str(end - first))
            self.send_header("Content-Type", _kind(path))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Last-Modified", modified)
            self.send_header("ETag", tag)
            self.end_headers()
            file.seek(first)
            left = end - first if self.command == "GET" else 0
            while left > 0:
                chunk = file.read(min(CHUNK_BYTES, left))
                if not chunk:
                    self.close_connection = True
                    return
                self.wfile.write(chunk)
                left -= len(chunk)

    def handle(self) -> None:
        """Handle a connection; a client that goes away is no error."""
        with suppress(ConnectionError, TimeoutError):
            super().handle()

    def log_message(self, *_arguments: object) -> None:
        """Write no log: what matters is in the bundle's `misses`."""


def _range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for a part that lies outside of the file."""
    match = _RANGE.match(header)
    if match is None or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if int(first) >= size:
        return None
    return int(first), min(size, int(last) + 1) if last else size


def _kind(path: Path) -> str:
    return "text/html; charset=utf-8" if path.suffix == ".html" else "application/octet-stream"


class Server(ThreadingHTTPServer):
    """One thread for each connection."""

    daemon_threads = True
    request_queue_size = 64


def listening(bundle: Bundle, address: str, port: int = 0, kind: type[Handler] = Handler) -> Server:
    """A server that has its port, and does not answer yet.

    Raises:
        OSError: This machine does not have the address, or the port is taken.
    """
    return Server((address, port), type("BundleHandler", (kind,), {"bundle": bundle}))


@contextmanager
def serving(bundle: Bundle, address: str, kind: type[Handler] = Handler) -> Iterator[str]:
    """Serve a bundle on a free port; yields the address.

    Raises:
        OSError: This machine does not have the address.
    """
    with listening(bundle, address, kind=kind) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://{address}:{server.server_port}"
        finally:
            server.shutdown()


def main() -> None:
    """Serve the folder in which this file lies, from a process that ends with the layer."""
    bundle = Bundle.opened(Path(__file__).parent, announces=True)
    server = listening(bundle, "127.0.0.1", PORT_IN_LAYER)
    if os.fork():
        os._exit(0)  # the port answers from here on
    server.serve_forever()


if __name__ == "__main__":
    main()
