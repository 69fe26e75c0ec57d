"""Servers on loopback that behave as mirrors, indexes and registries do, on bad days too."""

import hashlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(kw_only=True)
class Server:
    """What is served: path to content; and how.

    Attributes:
        cut_off: Paths whose content ends half-way although its length was promised.
        silent: Whether what is asked for below /v2/ is never answered.
        asked: Paths that were asked for.
        upstream: Address from which everything else is passed on; empty for nothing.
        spoilt: Ending of the paths in which one byte is altered on the way.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    cut_off: set[str] = field(default_factory=set)
    silent: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    upstream: str = ""
    spoilt: str = ""

    def content(self, path: str) -> bytes | None:
        """What is at a path; None for nothing."""
        if path in self.files or not self.upstream:
            return self.files.get(path)
        try:
            with urllib.request.urlopen(self.upstream + path, timeout=60) as answer:
                self.files[path] = answer.read()
        except urllib.error.HTTPError:
            return None
        if self.spoilt and path.endswith(self.spoilt):
            self.flip(path)
        return self.files[path]

    def flip(self, path: str) -> None:
        """Alter one byte in the middle of a file."""
        content = bytearray(self.files[path])
        content[len(content) // 2] ^= 1
        self.files[path] = bytes(content)


@contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[Server]:
    """A server on a free port."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            if server.silent and self.path.startswith("/v2/") and self.path != "/v2/":
                server.ended.wait()
            content = server.content(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            kind = server.types.get(self.path, "application/octet-stream")
            self.send_header("Content-Type", kind)
            self.send_header("Docker-Content-Digest", digest(content))
            self.end_headers()
            if self.command == "GET":
                half = self.path in server.cut_off
                self.wfile.write(content[: len(content) // 2] if half else content)
                self.close_connection = True

        do_HEAD = do_GET  # noqa: N815  the name is the base class's

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer((host, 0), Handler) as http:
        server.address = f"{host}:{http.server_port}"
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.ended.set()
        http.shutdown()


def digest(content: bytes) -> str:
    """As registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def publish(server: Server, name: str, layer: bytes) -> str:
    """Put an image of one layer into a registry; returns its reference by digest."""
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created_by": "the tests"}],
    }
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    blobs = [json.dumps(configuration).encode(), layer]
    media = ["container.image.v1+json", "image.rootfs.diff.tar"]
    described = [
        {"mediaType": f"application/vnd.docker.{m}", "size": len(b), "digest": digest(b)}
        for m, b in zip(media, blobs, strict=True)
    ]
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": described[0]}
    content = json.dumps({**manifest, "layers": described[1:]}).encode()
    path = f"/v2/{name}/manifests/{digest(content)}"
    server.files |= {"/v2/": b"{}", path: content}
    server.types |= {"/v2/": "application/json", path: kind}
    server.files |= {f"/v2/{name}/blobs/{digest(blob)}": blob for blob in blobs}
    return f"{server.address}/{name}@{digest(content)}"
