"""Protein sequences, and which of their residues a step hides.

The order of the sequences is BioNeMo's: `MultiEpochDatasetResampler` of bionemo-core maps the
number of a sample to an epoch and a sequence. What is hidden depends on the seed, the epoch and the
sequence alone. So a global batch does not depend on how many ranks share it, nor on whether the run
was resumed.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from bionemo.core.data.multi_epoch_dataset import EpochIndex, MultiEpochDatasetResampler
from model import ALPHABET, CLS, EOS, MASK, PAD, RESIDUES, UNKNOWN
from torch import Tensor
from training.records import WRONG_INPUT, Stop

SHIPPED = "tests/data/seqs/938293.PRJEB85.HG003687.faa"
HELD_OUT = 10
"""Of the sequences, every tenth is never trained on."""
NOT_COUNTED = -100
"""Target at places that were not chosen; cross_entropy leaves them out."""
CHOSEN, HIDDEN, SWAPPED = 0.15, 0.8, 0.1


def shipped() -> Path:
    """Return the FASTA file inside the pyhmmer package: the proteins of one bacterium."""
    found = find_spec("pyhmmer")
    if found is None or found.origin is None:
        raise Stop(WRONG_INPUT, "there is no package pyhmmer, which has the sequences; give --data")
    return Path(found.origin).parent / SHIPPED


def read_fasta(path: Path) -> list[str]:
    """Return the sequences of a FASTA file, in its order; of equal ones the first.

    A genome has genes several times; a copy held out would not be new to a model.

    Raises:
        Stop: It cannot be read, or is no FASTA file of proteins; says in which line.
    """
    sequences: list[list[str]] = []
    try:
        for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
            if line.startswith(">"):
                sequences.append([])
            elif letters := line.strip().upper().rstrip("*"):  # a * is where translation stopped
                if not sequences or not letters.isalpha():
                    raise Stop(WRONG_INPUT, f"{path}:{number}: no FASTA of proteins: {line[:40]!r}")
                sequences[-1].append(letters)
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(WRONG_INPUT, f"the data cannot be read: {error}") from error
    whole = list(dict.fromkeys("".join(parts) for parts in sequences if parts))
    if not whole:
        raise Stop(WRONG_INPUT, f"there are no sequences in {path}")
    return whole


def tokens_of(sequence: str) -> Tensor:
    """Return the tokens of a sequence, with <cls> before and <eos> behind it."""
    known = {letter: number for number, letter in enumerate(ALPHABET)}
    return torch.tensor([CLS, *(known.get(letter, UNKNOWN) for letter in sequence), EOS])


def hide(tokens: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hide residues as BERT does.

    Args:
        tokens: int64 [length].
        generator: Decides which.

    Returns:
        Inputs and targets, int64 [length] each: 15 % are chosen, of which 80 % become <mask>, 10 %
        another residue, and 10 % stay. At least one is chosen; other targets do not count.
    """
    places = torch.nonzero((tokens != CLS) & (tokens != EOS)).flatten()
    chosen = places[torch.rand(len(places), generator=generator) < CHOSEN]
    if not len(chosen):
        chosen = places[torch.randint(len(places), (1,), generator=generator)]
    targets = torch.full_like(tokens, NOT_COUNTED)
    targets[chosen] = tokens[chosen]
    inputs, fate = tokens.clone(), torch.rand(len(chosen), generator=generator)
    inputs[chosen[fate < HIDDEN]] = MASK
    swapped = chosen[fate >= 1 - SWAPPED]
    span = (RESIDUES.start, RESIDUES.stop)
    inputs[swapped] = torch.randint(*span, (len(swapped),), generator=generator)
    return inputs, targets


class Sequences:
    """Tokens of sequences, cut to a length, as a dataset of BioNeMo: given epoch and number."""

    def __init__(self, sequences: list[str], length: int, seed: int) -> None:
        self.tokens = [tokens_of(sequence) for sequence in sequences]
        self.length, self.seed = length, seed

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: EpochIndex) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a sequence; of a long one, another piece in each epoch."""
        epoch, place = map(int, index)
        number = (self.seed * 1_000_003 + epoch) * 1_000_003 + place
        generator = torch.Generator().manual_seed(number % 2**63)
        tokens = self.tokens[place]
        spare = max(0, len(tokens) - self.length)
        begin = int(torch.randint(spare + 1, (1,), generator=generator))
        return hide(tokens[begin : begin + self.length], generator)


class Proteins:
    """Batches of sequences to train on, and those held out."""

    def __init__(
        self, path: Path | None, *, length: int, seed: int, batch: int, steps: int
    ) -> None:
        """Read the data.

        Args:
            path: A FASTA file; the one that ships with the image for None.
            length: Tokens that a model sees of a sequence, at most.
            seed: Gives order, pieces and what is hidden.
            batch: Sequences of a global batch.
            steps: Of the whole training.

        Raises:
            Stop: As `read_fasta`; or there are too few sequences for one global batch.
        """
        whole = read_fasta(path or shipped())
        self.train = [s for number, s in enumerate(whole) if number % HELD_OUT != HELD_OUT - 1]
        self.test = whole[HELD_OUT - 1 :: HELD_OUT]
        if len(self.train) < batch or not self.test:
            message = f"{len(whole)} sequences are too few for a global batch of {batch}"
            raise Stop(WRONG_INPUT, message)
        self.length, self.seed, self.batch_size = length, seed, batch
        self.samples: MultiEpochDatasetResampler[tuple[Tensor, Tensor]] = (
            MultiEpochDatasetResampler(
                Sequences(self.train, length, seed), num_samples=batch * steps, seed=seed
            )
        )

    def batch(self, step: int, part: int = 0, parts: int = 1) -> tuple[Tensor, Tensor]:
        """Return one part of a step's global batch: int64 [sequences, longest of them] each."""
        begin = step * self.batch_size
        return padded([self.samples[n] for n in range(begin, begin + self.batch_size)[part::parts]])

    def held_out(self, size: int, part: int = 0, parts: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of those never trained on; what they hide is always the same."""
        dataset = Sequences(self.test, self.length, self.seed)
        mine = range(len(dataset))[part::parts]
        for begin in range(0, len(mine), size):
            yield padded([dataset[EpochIndex(0, n)] for n in mine[begin : begin + size]])


def padded(samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Stack inputs and targets, filled up to the longest."""
    inputs, targets = zip(*samples, strict=True)
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(inputs, True, PAD), pad(targets, True, NOT_COUNTED)
