"""A mirror that passes on what it does not have, and keeps exactly what was asked for."""

import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from uuid import uuid4

from bakehouse.mirror.server import CHUNK_BYTES, Bundle, Handler
from bakehouse.stacks.download import Policy

ATTEMPTS = 3
GONE = frozenset({404, 410})


@dataclass(kw_only=True)
class Recording(Bundle):
    """A bundle in the making.

    Attributes:
        origins_allowed: Heads of the addresses that may be asked, such as `http://mirror.example/`.
            Containers reach this mirror: it must not lead them to what only this machine reaches.
        policy: Its mirrors are asked in place of the origins.
        proxies: Scheme to the proxy through which the origin is asked; urllib's own if empty.
        now: The image that is being built.
        absent: Places that the origin does not have.
        wanted: Place to the images whose builds asked for it.
        origins: Place to its address.
        fetched: Places that were not there before.
        failures: Why an origin did not answer, a line each.
    """

    origins_allowed: frozenset[str] = frozenset()
    policy: Policy = field(default_factory=Policy)
    proxies: dict[str, str] = field(default_factory=dict)
    now: str = ""
    absent: set[str] = field(default_factory=set)
    wanted: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    origins: dict[str, str] = field(default_factory=dict)
    fetched: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def allows(self, address: str) -> bool:
        """Whether an address may be asked."""
        parts = urlsplit(address)
        return f"{parts.scheme}://{parts.netloc}/" in self.origins_allowed

    def note(self, place: str, address: str) -> None:
        """Remember who wanted a file, and where it is from."""
        self.wanted[place].add(self.now)
        self.origins[place] = address

    def ask(self, address: str) -> Any:
        """Ask the origin; an answer to be closed.

        Raises:
            HTTPError: It refused.
            OSError: It does not answer.
        """
        request = urllib.request.Request(  # noqa: S310 - http or https, see address_of
            self.policy.address(address),
            headers={"User-Agent": "bakehouse", "Accept-Encoding": "identity"},
        )
        known = [urllib.request.ProxyHandler(self.proxies)] if self.proxies else []
        opener = urllib.request.build_opener(*known)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return opener.open(request, timeout=60)
            except HTTPError as error:
                if error.code < 500 or attempt == ATTEMPTS:
                    raise
            except (URLError, OSError):
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError


class RecordingHandler(Handler):
    """Answers from the bundle, else from the origin."""

    bundle: Recording

    def send_file(self, path: Path) -> None:
        """Send a file that is there already, and remember that it is wanted."""
        place = str(path.relative_to(self.bundle.root))
        if address := address_of(self.path):
            self.bundle.note(place, address)
        super().send_file(path)

    def send_missing(self, place: str) -> None:
        """Pass on what is not there, and keep it."""
        address = address_of(self.path)
        if not place or not address:
            super().send_missing(place)
            return
        if not self.bundle.allows(address):
            self.bundle.failures.append(
                f"{address}: neither apt's sources nor a record of the stack names this host"
            )
            self.send_error(403, "No origin of the stack")
            return
        try:
            with self.bundle.ask(address) as answer:
                self.pass_on(place, address, answer)
        except HTTPError as error:
            if error.code in GONE:
                self.bundle.absent.add(place)
            else:
                self.bundle.failures.append(f"{address}: {error.code} {error.reason}")
            self.send_error(error.code, str(error.reason))
        except (URLError, HTTPException, OSError) as error:
            if isinstance(getattr(error, "reason", None), FileNotFoundError):  # file:///
                self.bundle.absent.add(place)
                self.send_error(404, "The origin does not have it")
                return
            self.bundle.failures.append(f"{address}: {getattr(error, 'reason', error)}")
            self.send_error(502, "The origin does not answer")

    def do_CONNECT(self) -> None:  # noqa: N802 - the base class looks for it
        """Refuse what could only be passed on unread."""
        self.bundle.failures.append(f"https://{self.path}: what is encrypted cannot be recorded")
        self.send_error(501, "What is encrypted cannot be recorded")

    def pass_on(self, place: str, address: str, answer: Any) -> None:
        """Send the origin's answer, and give the file its name when it is whole."""
        promised = answer.headers.get("Content-Length", "")
        self.send_response(200)
        if promised.isdecimal():
            self.send_header("Content-Length", promised)
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "GET":
            return
        path = self.bundle.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{uuid4().hex}.part")
        try:
            with part.open("wb") as file:
                received, last = self.copy(answer, file)
            if received < 0 or (promised.isdecimal() and received != int(promised)):
                self.close_connection = True  # the client asks again
                return
            part.replace(path)
            self.bundle.fetched.add(place)
            self.bundle.note(place, address)
            self.send(last)
        finally:
            part.unlink(missing_ok=True)

    def copy(self, answer: Any, file: IO[bytes]) -> tuple[int, bytes]:
        """Copy to the file and, but for the last chunk, to the client: that one says it is kept.

        Returns:
            The bytes, or -1 if the origin broke off; and the last chunk.
        """
        received, last = 0, b""
        while True:
            try:
                chunk = answer.read(CHUNK_BYTES)
            except (HTTPException, ConnectionError, TimeoutError):
                return -1, b""
            if not chunk:
                return received, last
            file.write(chunk)
            received += len(chunk)
            self.send(last)
            last = chunk

    def send(self, chunk: bytes) -> None:
        """Send to the client; the file is wanted even if the client goes away."""
        try:
            self.wfile.write(chunk)
        except OSError:
            self.close_connection = True


def address_of(asked: str) -> str:
    """The origin of what was asked for; empty where there is none.

    Args:
        asked: An address, or the path of one of the mirror's own addresses.
    """
    # apt writes so what a list of a flat repository calls ./name.
    plain = asked.replace("/./", "/")
    if plain.startswith("http://"):
        return plain
    scheme, _, rest = plain.lstrip("/").partition("/")
    return f"{scheme}://{rest}" if scheme in {"http", "https"} and rest else ""
