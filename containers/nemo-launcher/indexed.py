"""Text as Megatron's indexed dataset: NAME.bin has the tokens, NAME.idx says where documents begin.

The format is that of Megatron-LM's memory-mapped datasets, version 1; all numbers little-endian:
magic, version (8 bytes), number of the tokens' type (1 byte), how many sequences and how many
document ends (8 bytes each), the sequences' lengths (4 bytes each), where each begins in NAME.bin
(8 bytes each), and the document ends (8 bytes each, 0 first).
"""

import os
import struct
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
UINT16 = 8
END = 258
"""End of a document, as NeMo's byte-level tokenizer has it."""


def split(text: bytes, part: int = 10) -> tuple[bytes, bytes]:
    """Return a text without its end, and the end: one part in `part`, which is held out."""
    cut = len(text) * (part - 1) // part
    return text[:cut], text[cut:]


def write(prefix: Path, documents: Sequence[bytes]) -> None:
    """Write documents, a token a byte; NAME.idx last, so that half a dataset looks like none.

    Args:
        prefix: The files' name without ending.
        documents: Each gets an `END`.

    Raises:
        OSError: The files cannot be written.
    """
    lengths = [len(document) + 1 for document in documents]
    begins = [2 * sum(lengths[:number]) for number in range(len(lengths))]
    ends = range(len(documents) + 1)
    with prefix.with_name(f"{prefix.name}.bin").open("wb") as file:
        for document in documents:
            _little_endian(array("H", [*document, END])).tofile(file)
    partial = prefix.with_name(f"{prefix.name}.idx.{os.getpid()}")
    with partial.open("wb") as file:
        file.write(MAGIC + struct.pack("<QBQQ", VERSION, UINT16, len(lengths), len(ends)))
        for kind, numbers in (("i", lengths), ("q", begins), ("q", ends)):
            _little_endian(array(kind, numbers)).tofile(file)
    partial.replace(prefix.with_name(f"{prefix.name}.idx"))


def _little_endian(numbers: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
