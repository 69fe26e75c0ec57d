#!/usr/bin/python
# Part of Bakehouse, under the Apache License 2.0.
"""Ansible module: download one file that is known by its digest, resuming what was begun."""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import hashlib
import http.client
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

DOCUMENTATION = r"""
---
module: verified_download
short_description: Download one file that is known by its digest
description:
  - The file appears at its destination only when it is whole and is the expected one.
  - A download that was cut off is resumed.
  - Proxies and certificates are those of the environment (C(https_proxy), C(SSL_CERT_FILE)).
options:
  url:
    description: Address of the file; C(https), C(http) or C(file).
    required: true
    type: str
  sha256:
    description: Expected digest, 64 hexadecimal digits.
    type: str
  fingerprint:
    description: >-
      Instead of the digest, for an OpenPGP key: the fingerprint, 40 hexadecimal digits, of the
      only primary key in the file.
    type: str
  dest:
    description: Path of the file on the target.
    required: true
    type: path
  attempts:
    description: How often to try.
    type: int
    default: 5
  backoff_s:
    description: Seconds before the second attempt; doubled before each later one.
    type: float
    default: 1.0
  timeout_s:
    description: Seconds without a byte after which an attempt has failed.
    type: float
    default: 60.0
author: [Bakehouse]
"""

RETURN = r"""
url:
  description: Address that was asked.
  returned: always
  type: str
attempts:
  description: Attempts made; 0 where the file was already there.
  returned: success
  type: int
"""

CHUNK = 1 << 20
PUBLIC_KEY = 6
WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(Exception):
    """The download failed for good."""


class CutOffError(Exception):
    """An attempt failed in a way that another attempt may not."""


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or nothing where there is no file."""
    if not path.is_file():
        return ""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            sha256.update(chunk)
    return sha256.hexdigest()


def fingerprints(path: Path) -> str:
    """Return the fingerprints of the primary keys in a file, or nothing if there is none.

    A version 4 fingerprint is the SHA-1 of the key's packet, see RFC 4880, 12.2.
    """
    if not path.is_file():
        return ""
    data = path.read_bytes()
    if b"-----BEGIN PGP" in data:
        data = b"".join(_dearmored(data.decode("ascii", "replace")))
    try:
        keys = [body for tag, body in _packets(data) if tag == PUBLIC_KEY]
    except IndexError:
        return "of something that is not a key"
    digests = [hashlib.sha1(b"\x99" + len(key).to_bytes(2, "big") + key) for key in keys]  # noqa: S324
    return ", ".join(sha1.hexdigest().upper() for sha1 in digests)


def _dearmored(text: str) -> Iterator[bytes]:
    """Yield the content of each armoured block."""
    text = text.replace("\r", "")
    for block in re.findall("-----BEGIN PGP[^\n]*(.*?)-----END PGP", text, flags=re.DOTALL):
        body = block.partition("\n\n")[2]  # what stands before the empty line are headers
        with contextlib.suppress(binascii.Error):
            yield base64.b64decode(body.partition("\n=")[0])


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and body of each packet, see RFC 4880, 4.2; IndexError where there is none."""
    at = 0
    while at < len(data):
        head, at = data[at], at + 1
        if head & 0x40:  # new format
            tag, first = head & 0x3F, data[at]
            if first < 192:
                length, at = first, at + 1
            elif first < 224:
                length, at = ((first - 192) << 8) + data[at + 1] + 192, at + 2
            else:
                length, at = int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
        else:
            size = (1, 2, 4, 0)[head & 0x03]
            tag = (head & 0x3C) >> 2
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if not head & 0x80 or at + length > len(data):
            raise IndexError
        yield tag, data[at : at + length]
        at += length


def part_of(dest: Path, expected: str) -> Path:
    """Return where a file is kept until it is whole; a part of another version is not resumed."""
    return dest.with_name(f".{dest.name}.{expected[:12]}.part")


def append(url: str, part: Path, timeout_s: float) -> int:
    """Append to the part what it still lacks, and return the size that it had.

    Raises:
        CutOffError: The connection failed or ended too early.
        DownloadError: The server refused for good.
    """
    size = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={size}-"} if size else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  main() judges the scheme
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
    except (http.client.HTTPException, ConnectionError, socket.timeout) as error:  # noqa: UP041
        raise CutOffError(f"{type(error).__name__}: {error}") from error
    return size if resumes else 0


def copy(source: Any, target: Any) -> int:
    """Copy until the source ends, and return the number of bytes."""
    received = 0
    for chunk in iter(lambda: source.read(CHUNK), b""):
        target.write(chunk)
        received += len(chunk)
    return received


def fetch(
    *,
    url: str,
    expected: str,
    dest: Path,
    attempts: int,
    backoff_s: float,
    timeout_s: float,
    identify: Callable[[Path], str] = digest,
) -> dict[str, int]:
    """Bring the file to its destination, whole and verified.

    Args:
        url: Where it is.
        expected: What `identify` says of the right file.
        dest: Where it goes.
        attempts: How often to try.
        backoff_s: Seconds before the second attempt, doubled before each later one.
        timeout_s: Seconds without a byte after which an attempt has failed.
        identify: Tells one file from another.

    Raises:
        DownloadError: It could not be had, or is not the expected one.
    """
    part = part_of(dest, expected)
    attempt = 1
    while True:
        try:
            resumed_at = append(url, part, timeout_s)
        except CutOffError as error:
            if attempt >= attempts:
                raise DownloadError(f"{error}; gave up after {attempt} attempts") from error
            time.sleep(backoff_s * 2 ** (attempt - 1))
            attempt += 1
            continue
        found = identify(part)
        if found == expected:
            part.replace(dest)
            return {"attempts": attempt, "resumed_at": resumed_at}
        part.unlink(missing_ok=True)
        # What was there may have been part of another file: once more, from its start.
        if not resumed_at:
            what = "it is not the file that was asked for"
            raise DownloadError(f"{what}: expected {expected}, found {found or 'nothing'}")


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "sha256": {"type": "str"},
            "fingerprint": {"type": "str"},
            "dest": {"type": "path", "required": True},
            "attempts": {"type": "int", "default": 5},
            "backoff_s": {"type": "float", "default": 1.0},
            "timeout_s": {"type": "float", "default": 60.0},
        },
        required_one_of=[["sha256", "fingerprint"]],
        mutually_exclusive=[["sha256", "fingerprint"]],
        supports_check_mode=True,
    )
    given = module.params
    url, dest = given["url"], Path(given["dest"])
    kind, size, identify = ("sha256", 64, digest)
    expected = (given["sha256"] or "").lower()
    if given["fingerprint"] is not None:
        kind, size, identify = ("fingerprint", 40, fingerprints)
        expected = given["fingerprint"].upper()
    if not re.fullmatch(f"[0-9a-fA-F]{{{size}}}", expected):
        module.fail_json(msg=f"{kind} must be {size} hexadecimal digits, not {given[kind]!r}")
    if urlsplit(url).scheme not in {"https", "http", "file"}:
        module.fail_json(msg=f"url must begin with https, http or file: {url}")
    if identify(dest) == expected:
        module.exit_json(changed=False, url=url, attempts=0, resumed_at=0)
    if module.check_mode:
        module.exit_json(changed=True, url=url, attempts=0, resumed_at=0)
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        done = fetch(
            url=url,
            expected=expected,
            dest=dest,
            attempts=given["attempts"],
            backoff_s=given["backoff_s"],
            timeout_s=given["timeout_s"],
            identify=identify,
        )
        dest.chmod(0o644)
    except DownloadError as error:
        module.fail_json(msg=f"{url}: {error}", url=url)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            part_of(dest, expected).unlink(missing_ok=True)
        module.fail_json(msg=f"{url}: cannot write {dest}: {error.strerror}", url=url)
    module.exit_json(changed=True, url=url, **done)


if __name__ == "__main__":
    main()
