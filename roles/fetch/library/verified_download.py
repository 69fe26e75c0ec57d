#!/usr/bin/python
# Part of Bakehouse, under the Apache License 2.0.
"""Ansible module: download one file of known SHA-256, resuming what an earlier attempt began."""

from __future__ import annotations

import errno
import hashlib
import http.client
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCUMENTATION = r"""
---
module: verified_download
short_description: Download one file of known SHA-256
description:
  - The file appears at its destination only when it is whole and its digest is the expected one.
  - A download that was cut off is resumed, by this run and by later ones.
  - Proxies and certificates are those of the environment (C(https_proxy), C(SSL_CERT_FILE)).
options:
  url:
    description: Address of the file; C(https), C(http) or C(file).
    required: true
    type: str
  sha256:
    description: Expected digest, 64 hexadecimal digits.
    required: true
    type: str
  dest:
    description: Path of the file on the target.
    required: true
    type: path
  mirrors:
    description: Prefixes of addresses, and what stands in their place; the longest prefix wins.
    type: dict
    default: {}
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
attributes:
  check_mode:
    support: full
author: [Bakehouse]
"""

EXAMPLES = r"""
- name: Download a tool
  verified_download:
    url: "{{ tool_release.url }}"
    sha256: "{{ tool_release.sha256 }}"
    dest: /var/cache/tool.tar.gz
"""

RETURN = r"""
url:
  description: Address that was asked, after mirrors.
  returned: always
  type: str
attempts:
  description: Attempts made; 0 where the file was already there.
  returned: success
  type: int
resumed_at:
  description: Bytes that were already there when the last attempt began.
  returned: success
  type: int
"""

CHUNK = 1 << 20
WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(Exception):
    """The download failed for good."""


class CutOffError(Exception):
    """An attempt failed in a way that another attempt may not."""


def mirrored(url: str, mirrors: Mapping[str, str]) -> str:
    """Return the address with its longest listed prefix replaced."""
    for prefix in sorted(mirrors, key=len, reverse=True):
        if url.startswith(prefix):
            return mirrors[prefix] + url[len(prefix) :]
    return url


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or nothing where there is no file."""
    if not path.is_file():
        return ""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            sha256.update(chunk)
    return sha256.hexdigest()


def part_of(dest: Path, sha256: str) -> Path:
    """Return where a file is kept until it is whole; a part of another version is not resumed."""
    return dest.with_name(f".{dest.name}.{sha256[:12]}.part")


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
    *, url: str, sha256: str, dest: Path, attempts: int, backoff_s: float, timeout_s: float
) -> dict[str, int]:
    """Bring the file to its destination, whole and verified.

    Raises:
        DownloadError: It could not be had, or is not the file that the digest names.
    """
    part = part_of(dest, sha256)
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
        found = digest(part)
        if found == sha256:
            part.replace(dest)
            return {"attempts": attempt, "resumed_at": resumed_at}
        part.unlink(missing_ok=True)
        # What an earlier run left may have been part of another file: once more, from its start.
        if not resumed_at:
            raise DownloadError(f"it is not what was expected: sha256 {sha256}, found {found}")


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "dest": {"type": "path", "required": True},
            "mirrors": {"type": "dict", "default": {}},
            "attempts": {"type": "int", "default": 5},
            "backoff_s": {"type": "float", "default": 1.0},
            "timeout_s": {"type": "float", "default": 60.0},
        },
        supports_check_mode=True,
    )
    given = module.params
    url = mirrored(given["url"], given["mirrors"])
    sha256 = given["sha256"].lower()
    dest = Path(given["dest"])
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        module.fail_json(msg=f"sha256 must be 64 hexadecimal digits, not {given['sha256']!r}")
    if urlsplit(url).scheme not in {"https", "http", "file"}:
        module.fail_json(msg=f"url must begin with https, http or file: {url}")
    if digest(dest) == sha256:
        module.exit_json(changed=False, url=url, attempts=0, resumed_at=0)
    if module.check_mode:
        module.exit_json(changed=True, url=url, attempts=0, resumed_at=0)
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        done = fetch(
            url=url,
            sha256=sha256,
            dest=dest,
            attempts=given["attempts"],
            backoff_s=given["backoff_s"],
            timeout_s=given["timeout_s"],
        )
        dest.chmod(0o644)
    except DownloadError as error:
        module.fail_json(msg=f"{url}: {error}", url=url)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            part_of(dest, sha256).unlink(missing_ok=True)
        module.fail_json(msg=f"{url}: cannot write {dest}: {error.strerror}", url=url)
    module.exit_json(changed=True, url=url, **done)


if __name__ == "__main__":
    main()
