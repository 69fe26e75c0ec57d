"""What is trained on: what a global batch has in it depends on the step, not on the ranks.

`english` is the text of Python's help pages, `python` the standard library's source code; both are
in every image. A path is a file, or a folder of files. `hub:NAME[:SUBSET]` is streamed; see hub.py.
"""

import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from configuration import Configuration
from ranks import Ranks
from torch import Tensor
from training.corpus import BYTES, corpus
from training.records import WRONG_INPUT, Stop
from training.text import Windows, bytes_of

Pair = tuple[Tensor, Tensor]
NOT_OF_PYTHON = {"site-packages", "dist-packages", "test", "tests"}


class Source(Protocol):
    """Sequences to train on, and others to validate with."""

    about: dict[str, Any]

    def batch(self, step: int) -> Pair:
        """Inputs and targets of this rank at a step: int64 [its share of sequences, context]."""

    def held_out(self, size: int, most: int | None) -> Iterator[Pair]:
        """Inputs and targets that are never trained on, the same on every rank."""

    def state(self) -> dict[str, Any]:
        """The position, beyond the step, of all ranks together; JSON."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go to a position, which any number of ranks may have left."""


class Tokenizer:
    """Bytes, or a tokenizer.json of the `tokenizers` package.

    Raises:
        Stop: The package or the file is missing, or the model has another vocabulary.
    """

    def __init__(self, path: str | None, vocabulary: int) -> None:
        self.name, self.file = path or "bytes", None
        if path is None:
            size = BYTES
        else:
            self.file = _tokenizer_file(path)
            size = self.file.get_vocab_size()
        if size > vocabulary or (path is not None and size != vocabulary):
            message = f"{self.name} has {size} tokens, the model's vocabulary has {vocabulary}"
            raise Stop(WRONG_INPUT, f"{message}: give the model's own, or --set vocabulary={size}")

    def __call__(self, text: bytes) -> Tensor:
        """UTF-8 -> int64 [length]."""
        if self.file is None:
            return bytes_of(text)
        return torch.tensor(self.file.encode(text.decode("utf-8", "replace")).ids)


class TextSource:
    """Windows of a text that is here as a whole."""

    def __init__(self, config: Configuration, ranks: Ranks) -> None:
        self.part, self.parts = ranks.rank, ranks.ranks
        tokens = Tokenizer(config.tokenizer, config.architecture.vocabulary)
        text = tokens(_text(config.data))
        self.windows = Windows(text, config.context, config.seed, config.global_batch_size)
        self.about = {"samples": len(self.windows.train), "tokenizer": tokens.name}

    def batch(self, step: int) -> Pair:
        """As `Source`."""
        return self.windows.batch(step, self.part, self.parts)

    def held_out(self, size: int, most: int | None) -> Iterator[Pair]:
        """As `Source`."""
        return self.windows.held_out(size, most)

    def state(self) -> dict[str, Any]:
        """As `Source`: the step says it all."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """As `Source`."""


def open_source(config: Configuration, ranks: Ranks) -> Source:
    """Return what the configuration says is trained on.

    Raises:
        Stop: It is not there, or too short, or a package that reads it is missing.
    """
    if config.data.startswith("hub:"):
        from hub import HubSource  # noqa: PLC0415  # most trainings need no hub

        tokens = Tokenizer(config.tokenizer, config.architecture.vocabulary)
        return HubSource(config, tokens, ranks)
    return TextSource(config, ranks)


def validation_batches(
    source: Source, size: int, most: int | None, rank: int, ranks: int
) -> Iterator[tuple[Pair, bool]]:
    """Yield the held-out batches of a rank, and whether each counts.

    Every rank gets as many, since all must take part in each forward pass: one that has nothing
    left gets a batch again that does not count.
    """
    batches = source.held_out(size, most)
    while turn := list(islice(batches, ranks)):
        yield turn[min(rank, len(turn) - 1)], rank < len(turn)


def _text(data: str) -> bytes:
    if data == "english":
        return corpus(None)
    if data == "python":
        library = Path(sysconfig.get_path("stdlib"))
        files = sorted(f for f in library.rglob("*.py") if not NOT_OF_PYTHON & set(f.parts))
        return b"\n".join(file.read_bytes() for file in files)
    return corpus(Path(data))


def _tokenizer_file(path: str) -> Any:
    try:
        from tokenizers import Tokenizer as File  # noqa: PLC0415  # most trainings need none
    except ImportError as error:
        message = "a tokenizer needs the package tokenizers, which this image does not have"
        raise Stop(WRONG_INPUT, message) from error
    try:
        return File.from_file(path)
    except Exception as error:  # the package raises bare Exceptions
        raise Stop(WRONG_INPUT, f"{path} is no tokenizer.json: {error}") from error
