"""Verified downloads to this machine: resumed, retried, and only whole files at their place.

Proxies (`https_proxy`, `no_proxy`) and certificates (`SSL_CERT_FILE`) are those of the environment.
"""

import errno
import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakehouse import scratch
from bakehouse.errors import DownloadError, HostError

CHUNK_BYTES = 1 << 20
WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})
REMEDY = "check the address; in a closed network point at your mirror: --mirror PREFIX=OTHER-PREFIX"

Watcher = Callable[[int, int | None], None]
"""Called with the bytes that are here and, where it is known, the bytes in all."""

Measure = Callable[[Path], str]
"""Gives what a file is known by, such as its SHA-256."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How to download.

    Attributes:
        attempts: How often to try.
        backoff_s: Seconds before the second attempt, doubled before each later one.
        timeout_s: Seconds without a byte after which an attempt has failed.
        mirrors: Prefixes of addresses, and what stands in their place.
        watcher: Told of progress.
    """

    attempts: int = 4
    backoff_s: float = 1.0
    timeout_s: float = 60.0
    mirrors: Mapping[str, str] = field(default_factory=dict)
    watcher: Watcher | None = None

    def address(self, url: str) -> str:
        """The address that is really asked: the longest prefix that has a mirror is replaced."""
        prefix = max((p for p in self.mirrors if url.startswith(p)), key=len, default=None)
        return url if prefix is None else self.mirrors[prefix] + url[len(prefix) :]


class _CutOffError(Exception):
    """An attempt failed in a way in which another one may not."""


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
            sha256.update(chunk)
    return sha256.hexdigest()


def fetch(url: str, destination: Path, *, sha256: str, policy: Policy | None = None) -> Path:
    """Bring a file to its place, verified by its SHA-256; as `fetch_measured`."""
    return fetch_measured(url, destination, promised=sha256, measured=digest, policy=policy)


def fetch_measured(
    url: str,
    destination: Path,
    *,
    promised: str,
    measured: Measure,
    policy: Policy | None = None,
    kind: str = "checksum",
) -> Path:
    """Bring a file to its place, whole and verified; nothing is done where it is there already.

    What was cut off is resumed, by a later call too.

    Args:
        url: Its address.
        destination: Its place.
        promised: What the file must measure.
        measured: How to measure it.
        policy: How to download.
        kind: What is measured, for messages.

    Raises:
        DownloadError: It cannot be had, or is not the promised file; nothing is left behind.
        HostError: The disk is full, or the folder cannot be written.
    """
    if destination.is_file() and measured(destination) == promised:
        return destination
    part = destination.with_name(f".{destination.name}.{promised[:12]}.part")
    transfer = _Transfer(url, part, policy or Policy())
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        left_by_earlier_call = part.exists()
        transfer.complete()
        found = measured(part)
        if found != promised and left_by_earlier_call:
            # What was left may have been the beginning of another file.
            part.unlink()
            transfer.complete()
            found = measured(part)
        if found != promised:
            part.unlink()
            raise mismatch(transfer.address, expected=promised, found=found, kind=kind)
        part.replace(destination)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            part.unlink(missing_ok=True)
        raise _unwritable(destination, error) from error
    return destination


def measure(url: str, policy: Policy | None = None, measured: Measure = digest) -> str:
    """Measure, by SHA-256 unless told otherwise, what an address has now; it is not kept.

    Raises:
        DownloadError: It cannot be had.
        HostError: The disk is full.
    """
    with _temporary(url, policy) as part:
        return measured(part)


def content(url: str, policy: Policy | None = None) -> bytes:
    """What an address has now, for small things such as a key.

    Raises:
        DownloadError: It cannot be had, or is larger than a small thing is.
        HostError: The disk is full.
    """
    with _temporary(url, policy) as part:
        if part.stat().st_size > CHUNK_BYTES:
            raise DownloadError(
                f"this has more than {CHUNK_BYTES} bytes", where=url, remedy="check the address"
            )
        return part.read_bytes()


@contextmanager
def _temporary(url: str, policy: Policy | None) -> Iterator[Path]:
    with scratch.folder("download") as folder:
        part = folder / "file"
        try:
            _Transfer(url, part, policy or Policy()).complete()
        except OSError as error:
            raise _unwritable(part, error) from error
        yield part


def digest_of(data: bytes) -> str:
    """SHA-256 of data, in hex."""
    return hashlib.sha256(data).hexdigest()


def mismatch(where: str, *, expected: str, found: str, kind: str = "checksum") -> DownloadError:
    """The error for a file that is not the promised one."""
    return DownloadError(
        f"wrong {kind}: expected {expected}, found {found}",
        where=where,
        remedy="do not use this file; ask the vendor which one is right, then write that",
    )


class _Transfer:
    """One file on its way. What has arrived stays when the connection is cut off."""

    def __init__(self, url: str, part: Path, policy: Policy) -> None:
        self.address = policy.address(url)
        self.part = part
        self.policy = policy
        self.validator = ""  # tells this file from a later one at the same address

    def complete(self) -> None:
        for attempt in range(1, self.policy.attempts + 1):
            try:
                self.append()
            except _CutOffError as error:
                if attempt == self.policy.attempts:
                    raise DownloadError(
                        f"{error}; gave up after {attempt} attempts",
                        where=self.address,
                        remedy=REMEDY,
                    ) from error
                time.sleep(self.policy.backoff_s * 2 ** (attempt - 1))
            else:
                return

    def append(self) -> None:
        """Add to the part what it still lacks."""
        size = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity", "User-Agent": "bakehouse"}
        if size:
            headers["Range"] = f"bytes={size}-"
            if self.validator:
                headers["If-Range"] = self.validator
        try:
            request = urllib.request.Request(self.address, headers=headers)  # noqa: S310  http or file
            with urllib.request.urlopen(request, timeout=self.policy.timeout_s) as answer:  # noqa: S310
                self.receive(answer, size)
        except urllib.error.HTTPError as error:
            self.judge(error)
        except urllib.error.URLError as error:
            _judge_reason(error.reason, self.address)
        except (ValueError, http.client.InvalidURL) as error:
            raise DownloadError(
                f"this is no address: {error}", where=self.address, remedy=REMEDY
            ) from error
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise _CutOffError(f"{type(error).__name__}: {error}") from error

    def receive(self, answer: Any, size: int) -> None:
        tag = str(answer.headers.get("ETag") or "W/")
        self.validator = answer.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
        resumes = f"bytes {size}-" in answer.headers.get("Content-Range", "")
        begun = size if resumes else 0
        length = answer.headers.get("Content-Length", "")
        total = begun + int(length) if length.isdecimal() else None
        received = begun
        with self.part.open("ab" if resumes else "wb") as file:
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                received += len(chunk)
                if self.policy.watcher is not None:
                    self.policy.watcher(received, total)
        if total not in {None, received}:
            raise _CutOffError(f"the connection ended after {received} of {total} bytes")

    def judge(self, error: urllib.error.HTTPError) -> None:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            total = error.headers.get("Content-Range", "").removeprefix("bytes */")
            if total == str(self.part.stat().st_size):
                return  # nothing was missing
            self.part.unlink()
            raise _CutOffError("what an earlier attempt left does not fit the file") from error
        told = f"the server answered {error.code} {error.reason}"
        if error.code in WORTH_RETRYING:
            raise _CutOffError(told) from error
        raise DownloadError(told, where=self.address, remedy=REMEDY) from error


def _judge_reason(reason: str | BaseException, address: str) -> None:
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise DownloadError(
            f"the server's certificate is not trusted: {reason.verify_message}",
            where=address,
            remedy="where a proxy signs with its own authority, name its bundle in SSL_CERT_FILE",
        ) from reason
    text = str(reason)
    if isinstance(reason, FileNotFoundError | IsADirectoryError | str):
        raise DownloadError(text, where=address, remedy=REMEDY)
    raise _CutOffError(text)


def _unwritable(path: Path, error: OSError) -> HostError:
    if error.errno == errno.ENOSPC:
        return HostError("the disk is full", where=str(path.parent), remedy="make room there")
    return HostError(f"cannot write: {error.strerror}", where=str(path), remedy="see permissions")
