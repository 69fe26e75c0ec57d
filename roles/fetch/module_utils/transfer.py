# Part of Bakehouse, under the Apache License 2.0.
"""One file on its way: what was cut off is resumed, what may pass is tried again."""

from __future__ import annotations

import http.client
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(Exception):
    """The download failed for good."""


class CutOffError(Exception):
    """An attempt failed in a way that another attempt may not."""


@dataclass(frozen=True)
class Patience:
    """How often to try, how long to wait before the second attempt, and how long for a byte."""

    attempts: int
    backoff_s: float
    timeout_s: float


def complete(url: str, part: Path, patience: Patience) -> dict[str, int]:
    """Append until nothing is missing; what was cut off is tried again.

    Raises:
        DownloadError: It could not be had.
    """
    attempt = 1
    while True:
        try:
            return {"resumed_at": append(url, part, patience.timeout_s), "attempts": attempt}
        except CutOffError as error:
            if attempt >= patience.attempts:
                raise DownloadError(f"{error}; gave up after {attempt} attempts") from error
            time.sleep(patience.backoff_s * 2 ** (attempt - 1))
            attempt += 1


def append(url: str, part: Path, timeout_s: float) -> int:
    """Append to the part what it still lacks, and return the size that it had.

    Raises:
        CutOffError: The connection failed or ended too early.
        DownloadError: The server refused for good.
    """
    size = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={size}-"} if size else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  the module judges the scheme
    try:
        with urllib.request.build_opener().open(request, timeout=timeout_s) as answer:
            resumes = f"bytes {size}-" in answer.headers.get("Content-Range", "")
            expected = int(answer.headers.get("Content-Length") or -1)
            with part.open("ab" if resumes else "wb") as file:
                received = copy(answer, file)
            if expected not in {-1, received}:
                raise CutOffError(f"the connection ended after {received} of {expected} bytes")
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return size  # nothing is missing; the digest tells whether that is true
        failure = f"the server answered {error.code} {error.reason}"
        if error.code in WORTH_RETRYING:
            raise CutOffError(failure) from error
        raise DownloadError(failure) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, FileNotFoundError):
            raise DownloadError(str(error.reason)) from error
        raise CutOffError(str(error.reason)) from error
    # Before Python 3.10 a socket's timeout was not a TimeoutError.
    except (http.client.HTTPException, ConnectionError, socket.timeout) as error:
        raise CutOffError(f"{type(error).__name__}: {error}") from error
    return size if resumes else 0


def copy(source: Any, target: Any) -> int:
    """Copy until the source ends, and return the number of bytes."""
    received = 0
    for chunk in iter(lambda: source.read(CHUNK), b""):
        target.write(chunk)
        received += len(chunk)
    return received
