"""Text that is streamed from a hub by the `datasets` package, while it is trained on.

The stream is dealt into as many lanes as a global batch has sequences. A lane has its own part of
the documents and cuts them into sequences, one after the other; a step takes the next one of each.
So a global batch is the same for any number of ranks, a rank tokenizes only its own lanes, and the
position is that of each lane, whoever goes on with it.
"""

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from configuration import Configuration
from ranks import Ranks
from torch import Tensor
from training.records import WRONG_INPUT, Stop

TEXT = "text"  # the column
TRAINING, HELD_OUT = "train", "validation"  # names of the splits


class Lane:
    """Sequences of one part of the documents, round and round."""

    def __init__(self, documents: Any, tokens: Any, length: int) -> None:
        self.documents, self.tokens, self.length = documents, tokens, length
        self.rest: list[int] = []
        self.stream = iter(documents)

    def take(self) -> Tensor:
        """Return the next tokens: int64 [length + 1], of which the last is the next one's first."""
        empty_rounds = 0
        while len(self.rest) <= self.length:
            try:
                self.rest += self.tokens(next(self.stream)[TEXT].encode()).tolist()
                empty_rounds = 0
            except StopIteration:
                empty_rounds += 1
                if empty_rounds > 1:
                    message = "a lane of the data is empty: fewer documents than global_batch_size"
                    raise Stop(WRONG_INPUT, message) from None
                self.stream = iter(self.documents)
        taken, self.rest = self.rest[: self.length + 1], self.rest[self.length :]
        return torch.tensor(taken)

    def state(self) -> dict[str, Any]:
        """Return the position in the documents, and what is left of the last one."""
        return {"documents": self.documents.state_dict(), "rest": self.rest}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go to a position."""
        self.documents.load_state_dict(state["documents"])
        self.rest, self.stream = list(state["rest"]), iter(self.documents)


class HubSource:
    """As `data.Source`."""

    def __init__(self, config: Configuration, tokens: Any, ranks: Ranks) -> None:
        """Open the stream.

        Raises:
            Stop: The package is missing, or the hub does not give the dataset.
        """
        datasets = _package()
        _, name, *subset = config.data.split(":")
        self.length, self.tokens, self.ranks = config.context, tokens, ranks
        # By the environment alone, so that it reaches no file, log or command line.
        where = {"name": subset[0] if subset else None, "streaming": True}
        where["token"] = os.environ.get("HF_TOKEN")
        try:
            train = datasets.load_dataset(name, split=TRAINING, **where)
            self.test = datasets.load_dataset(name, split=HELD_OUT, **where)
        except Exception as error:  # there are too many kinds to name
            raise Stop(WRONG_INPUT, f"the hub does not give {name}: {error}") from error
        count = config.global_batch_size
        self.lanes = {
            lane: Lane(_part(datasets, train, lane, count), tokens, config.context)
            for lane in range(ranks.rank, count, ranks.ranks)
        }
        self.about = {"tokenizer": tokens.name}

    def batch(self, step: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002  # the lanes know
        """As `data.Source`."""
        windows = torch.stack([lane.take() for lane in self.lanes.values()])
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()

    def held_out(self, size: int, most: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """As `data.Source`."""
        if most is None:
            raise Stop(WRONG_INPUT, "a hub's held-out text has no end: give validation_windows")
        windows = islice(self._held_out(), most)
        while some := list(islice(windows, size)):
            together = torch.stack(some)
            yield together[:, :-1].contiguous(), together[:, 1:].contiguous()

    def state(self) -> dict[str, Any]:
        """As `data.Source`."""
        parts: list[Any] = [None] * self.ranks.ranks
        mine = {str(number): lane.state() for number, lane in self.lanes.items()}
        dist.all_gather_object(parts, mine, group=self.ranks.control_group)
        return {number: state for part in parts for number, state in part.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """As `data.Source`."""
        for number, lane in self.lanes.items():
            lane.load_state(state[str(number)])

    def _held_out(self) -> Iterator[Tensor]:
        rest: list[int] = []
        for document in self.test:
            rest += self.tokens(document[TEXT].encode()).tolist()
            while len(rest) > self.length:
                yield torch.tensor(rest[: self.length + 1])
                rest = rest[self.length :]


def _part(datasets: Any, documents: Any, lane: int, lanes: int) -> Any:
    return datasets.distributed.split_dataset_by_node(documents, rank=lane, world_size=lanes)


def _package() -> Any:
    try:
        import datasets  # noqa: PLC0415  # most trainings need no hub
        import datasets.distributed  # noqa: PLC0415
    except ImportError as error:
        message = "streaming from a hub needs the package datasets, which this image does not have"
        raise Stop(WRONG_INPUT, message) from error
    return datasets
