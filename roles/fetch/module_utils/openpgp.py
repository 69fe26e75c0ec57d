# Part of Bakehouse, under the Apache License 2.0.
"""OpenPGP as far as downloads need it: whose key a file holds, and whether a signature is good.

Fingerprints and armour are read here, see RFC 4880; signatures are checked by GnuPG.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PUBLIC_KEY = 6
GPG = ("gpg", "--batch", "--no-default-keyring", "--trust-model", "always", "--verify")
CHECKERS = (("gpgv",), GPG)
"""Programs that can check a signature; the first that is there does. Some systems split GnuPG."""

NO_CHECKER = (
    "neither gpgv nor gpg is installed, so its signature cannot be checked: install the package "
    "gpgv (apt) or gnupg2 (dnf)"
)


class NotOpenPgpError(Exception):
    """The data is no sequence of OpenPGP packets."""


class SignatureError(Exception):
    """The file is not vouched for by the expected key."""


def fingerprints(data: bytes) -> list[str]:
    """Return the fingerprints of the primary keys in a file, armoured or not.

    A version 4 fingerprint is the SHA-1 of the key's packet, see RFC 4880, 12.2.

    Raises:
        NotOpenPgpError: It is another kind of file.
    """
    try:
        keys = [body for tag, body in _packets(dearmored(data)) if tag == PUBLIC_KEY]
    except IndexError:
        raise NotOpenPgpError from None
    digests = [hashlib.sha1(b"\x99" + len(key).to_bytes(2, "big") + key) for key in keys]  # noqa: S324
    return [sha1.hexdigest().upper() for sha1 in digests]


def check_signature(file: Path, signature: bytes, *, key: str, fingerprint: str) -> None:
    """Check the detached signature of a file.

    Whether the key has expired since is not asked: a pinned file was signed while it had not.

    Args:
        file: What was signed.
        signature: Armoured or not.
        key: The armoured public key.
        fingerprint: Of the key, or of the primary key where a subkey signs.

    Raises:
        SignatureError: It is not of this key, or not of this file, or cannot be checked.
    """
    try:
        present = fingerprints(key.encode())
    except NotOpenPgpError:
        present = []
    if present != [fingerprint]:
        found = ", ".join(present) or "none"
        raise SignatureError(f"the key to check with: expected {fingerprint}, found {found}")
    checker = next((command for command in CHECKERS if shutil.which(command[0])), None)
    if checker is None:
        raise SignatureError(NO_CHECKER)
    with tempfile.TemporaryDirectory(prefix="signature-") as folder:
        keyring, detached = Path(folder, "key.gpg"), Path(folder, "file.sig")
        keyring.write_bytes(dearmored(key.encode()))
        detached.write_bytes(signature)
        options = ["--homedir", folder, "--status-fd", "1", "--keyring", str(keyring)]
        command = [checker[0], *options, *checker[1:], str(detached), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or _signers(done.stdout) != {fingerprint}:
        told = " ".join(done.stderr.split()) or f"{checker[0]} found no valid one"
        raise SignatureError(f"its signature is not one of the key {fingerprint}: {told}")


def dearmored(data: bytes) -> bytes:
    """Return the content of all armoured blocks, or the data where there is none."""
    if b"-----BEGIN PGP" not in data:
        return data
    return b"".join(_blocks(data.decode("ascii", "replace").replace("\r", "")))


def _signers(status: str) -> set[str]:
    """Return the primary keys of the valid signatures: the last word, see GnuPG's doc/DETAILS."""
    lines = [line.split() for line in status.splitlines()]
    return {words[-1] for words in lines if words[:2] == ["[GNUPG:]", "VALIDSIG"]}


def _blocks(text: str) -> Iterator[bytes]:
    for block in re.findall("-----BEGIN PGP[^\n]*(.*?)-----END PGP", text, flags=re.DOTALL):
        body = block.partition("\n\n")[2]  # what stands before the empty line are headers
        try:
            yield base64.b64decode(body.partition("\n=")[0])
        except binascii.Error:
            continue


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
