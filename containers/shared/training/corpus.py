"""The text that test cases train on: of a file, of a folder, or what every CPython brings along.

Needs nothing but the standard library.
"""

from pathlib import Path
from pydoc_data.topics import topics

from training.records import WRONG_INPUT, Stop

BYTES = 256
"""Vocabulary of plain bytes."""

HELD_OUT = 10
"""One part in this many, the end of the text, is never trained on."""


def corpus(path: Path | None = None) -> bytes:
    """Return the text of a file, or of all files of a folder in the order of their names.

    Without a path it is the English text that every CPython brings along, the help pages in
    `pydoc_data.topics` (about 465 kB, licence PSF-2.0).

    Raises:
        Stop: There is no such file, or nothing in it.
    """
    if path is None:
        return "\n\n".join(topics[name] for name in sorted(topics)).encode()
    try:
        files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
        text = b"".join(file.read_bytes() for file in files)
    except OSError as error:
        raise Stop(WRONG_INPUT, f"the data cannot be read: {error}") from error
    if not text:
        raise Stop(WRONG_INPUT, f"there is nothing to train on in {path}")
    return text
