#!/usr/bin/python
# Part of Bakehouse, under the Apache License 2.0.
"""Ansible module: download one file that is known by its digest, resuming what was begun."""

from __future__ import annotations

import errno
import hashlib
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.openpgp import NotOpenPgpError, SignatureError, check_signature
from ansible.module_utils.openpgp import fingerprints as fingerprints_in
from ansible.module_utils.transfer import CHUNK, DownloadError, Patience, complete

DOCUMENTATION = r"""
---
module: verified_download
short_description: Download one file that is known by its digest
description:
  - The file appears at its destination only when it is whole and is the expected one.
  - A signature, where one is named, is checked before that, too, by C(gpgv) or C(gpg); it comes
    in addition to the digest. A file that is there already is known by its digest alone.
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
  signature:
    description: Detached OpenPGP signature, which the file of this digest must have.
    type: dict
    suboptions:
      url:
        description: Address of the signature, armoured or not.
        required: true
        type: str
      key:
        description: The armoured public key.
        required: true
        type: str
      fingerprint:
        description: The key's fingerprint, 40 hexadecimal digits.
        required: true
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

SIGNATURE_OPTIONS = ("url", "key", "fingerprint")


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
    """Return the fingerprints of the primary keys in a file, or nothing if there is none."""
    if not path.is_file():
        return ""
    try:
        return ", ".join(fingerprints_in(path.read_bytes()))
    except NotOpenPgpError:
        return "of something that is not a key"


def part_of(dest: Path, expected: str) -> Path:
    """Return where a file is kept until it is whole; a part of another version is not resumed."""
    return dest.with_name(f".{dest.name}.{expected[:12]}.part")


def fetch(
    *,
    url: str,
    expected: str,
    dest: Path,
    patience: Patience,
    identify: Callable[[Path], str] = digest,
    accept: Callable[[Path], None] = lambda _: None,
) -> dict[str, int]:
    """Bring the file to its destination, whole and verified.

    Args:
        url: Where it is.
        expected: What `identify` says of the right file.
        dest: Where it goes.
        patience: With the connection.
        identify: Tells one file from another.
        accept: Raises a DownloadError for the right file, if something else speaks against it.

    Raises:
        DownloadError: It could not be had, or is not the expected one.
    """
    part = part_of(dest, expected)
    while True:
        done = complete(url, part, patience)
        found = identify(part)
        if found == expected:
            try:
                accept(part)
            except DownloadError:
                part.unlink()
                raise
            part.replace(dest)
            return done
        part.unlink(missing_ok=True)
        # What was there may have been part of another file: once more, from its start.
        if not done["resumed_at"]:
            what = "it is not the file that was asked for"
            raise DownloadError(f"{what}: expected {expected}, found {found or 'nothing'}")


def demand_signature(file: Path, signature: dict[str, str], patience: Patience) -> None:
    """Fetch the signature of a file and check it.

    Raises:
        DownloadError: It cannot be had, or is not a signature of the file by the key.
    """
    with tempfile.TemporaryDirectory(prefix="signature-") as folder:
        fetched = Path(folder, "fetched")
        try:
            complete(signature["url"], fetched, patience)
            check_signature(
                file,
                fetched.read_bytes(),
                key=signature["key"],
                fingerprint=signature["fingerprint"].upper(),
            )
        except DownloadError as error:
            raise DownloadError(f"its signature {signature['url']}: {error}") from error
        except SignatureError as error:
            raise DownloadError(str(error)) from error


def refuse_odd(module: AnsibleModule, given: dict[str, Any]) -> None:
    """End with a message if a digest, a fingerprint or an address cannot be one."""
    signature = given["signature"] or {}
    for kind, size, text in (
        ("sha256", 64, given["sha256"]),
        ("fingerprint", 40, given["fingerprint"]),
        ("fingerprint of a signature", 40, signature.get("fingerprint")),
    ):
        if text is not None and not re.fullmatch(f"[0-9a-fA-F]{{{size}}}", text):
            module.fail_json(msg=f"{kind} must be {size} hexadecimal digits, not {text!r}")
    for address in (given["url"], signature.get("url", "https:")):
        if urlsplit(address).scheme not in {"https", "http", "file"}:
            module.fail_json(msg=f"url must begin with https, http or file: {address}")


def main() -> None:
    """Run as an Ansible module."""
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "url": text,
            "sha256": {"type": "str"},
            "fingerprint": {"type": "str"},
            "signature": {"type": "dict", "options": dict.fromkeys(SIGNATURE_OPTIONS, text)},
            "dest": {"type": "path", "required": True},
            "attempts": {"type": "int", "default": 5},
            "backoff_s": {"type": "float", "default": 1.0},
            "timeout_s": {"type": "float", "default": 60.0},
        },
        required_one_of=[["sha256", "fingerprint"]],
        mutually_exclusive=[["sha256", "fingerprint"]],
        required_by={"signature": ["sha256"]},
        supports_check_mode=True,
    )
    given = module.params
    url, dest, signature = given["url"], Path(given["dest"]), given["signature"]
    refuse_odd(module, given)
    expected, identify = (given["sha256"] or "").lower(), digest
    if given["fingerprint"] is not None:
        expected, identify = given["fingerprint"].upper(), fingerprints
    if identify(dest) == expected:
        module.exit_json(changed=False, url=url, attempts=0, resumed_at=0)
    if module.check_mode:
        module.exit_json(changed=True, url=url, attempts=0, resumed_at=0)
    patience = Patience(given["attempts"], given["backoff_s"], given["timeout_s"])

    def accept(file: Path) -> None:
        if signature:
            demand_signature(file, signature, patience)

    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        done = fetch(
            url=url,
            expected=expected,
            dest=dest,
            patience=patience,
            identify=identify,
            accept=accept,
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
