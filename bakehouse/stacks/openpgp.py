"""Fingerprints of OpenPGP keys, and what is a signature: RFC 4880, sections 4.2, 6.2, 12.2."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

_SIGNATURE = 2
_PUBLIC_KEY = 6


def fingerprints(data: bytes) -> list[str]:
    """Fingerprints of the primary keys in a file, armoured or not; none if it holds no key."""
    blocks = _dearmored(data) if b"-----BEGIN PGP PUBLIC KEY" in data else [data]
    try:
        keys = [body for block in blocks for tag, body in _packets(block) if tag == _PUBLIC_KEY]
    except (IndexError, binascii.Error):
        return []
    # A version 4 fingerprint is defined as a SHA-1.
    return [
        hashlib.sha1(b"\x99" + len(key).to_bytes(2, "big") + key).hexdigest().upper()  # noqa: S324
        for key in keys
    ]


def is_signature(data: bytes) -> bool:
    """Whether a file is a detached signature, armoured or not; not whose, nor of what."""
    blocks = _dearmored(data) if b"-----BEGIN PGP SIGNATURE" in data else [data]
    try:
        tags = {tag for block in blocks for tag, _ in _packets(block)}
    except (IndexError, binascii.Error):
        return False
    return tags == {_SIGNATURE}


def _dearmored(data: bytes) -> list[bytes]:
    """The content of each armoured block. Headers end at the first empty line."""
    text = data.decode("ascii", "replace").replace("\r", "")
    bodies = re.findall(
        r"-----BEGIN PGP [A-Z ]+-----\n(?:.*: .*\n)*\n?(.*?)(?:\n=.{4})?\n-----END PGP",
        text,
        flags=re.DOTALL,
    )
    return [base64.b64decode(body) for body in bodies]


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet; IndexError where the data is no sequence of packets."""
    at = 0
    while at < len(data):
        head = data[at]
        if not head & 0x80:
            raise IndexError
        tag, at, length = _old_header(data, at) if not head & 0x40 else _new_header(data, at)
        if at + length > len(data):
            raise IndexError
        yield tag, data[at : at + length]
        at += length


def _new_header(data: bytes, at: int) -> tuple[int, int, int]:
    tag, first = data[at] & 0x3F, data[at + 1]
    if first < 192:
        return tag, at + 2, first
    if first < 224:
        return tag, at + 3, ((first - 192) << 8) + data[at + 2] + 192
    return tag, at + 6, int.from_bytes(data[at + 2 : at + 6], "big")


def _old_header(data: bytes, at: int) -> tuple[int, int, int]:
    size = (1, 2, 4, 0)[data[at] & 0x03]
    tag = (data[at] & 0x3C) >> 2
    length = int.from_bytes(data[at + 1 : at + 1 + size], "big") if size else len(data)
    return tag, at + 1 + size, length
