"""What the program `collectives` has measured, from the lines that it prints."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bakehouse.errors import RunError
from bakehouse.launch.node import parse


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One operation at one size, by nccl-tests' definitions.

    Attributes:
        bytes: Of the whole buffer.
        time_us: Of one operation, the mean over runs and ranks.
        algbw: GB/s, 10^9 bytes.
        busbw: GB/s.
        wrong: Elements that arrived with another value, on all ranks.
    """

    operation: str
    bytes: int
    time_us: float
    algbw: float
    busbw: float
    wrong: int


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """All of one run.

    Attributes:
        limit: Bytes of the largest buffer for which there is memory.
    """

    ranks: int
    backend: str
    torch: str
    limit: int
    found: list[Measurement]

    @property
    def wrong(self) -> int:
        """Elements that arrived with another value, all operations together."""
        return sum(one.wrong for one in self.found)

    def of(self, operation: str) -> list[Measurement]:
        """Those of one operation, in the order of their sizes."""
        return [one for one in self.found if one.operation == operation]

    @property
    def operations(self) -> list[str]:
        """Operations in the order in which they were measured."""
        return list(dict.fromkeys(one.operation for one in self.found))

    def as_json(self) -> dict[str, Any]:
        """For machines; bandwidths are in GB/s, times in microseconds."""
        facts = {"ranks": self.ranks, "backend": self.backend, "torch": self.torch}
        measured = [vars(one) for one in self.found]
        return {**facts, "limit_bytes": self.limit, "measurements": measured}


def from_output(lines: Iterable[str]) -> Measurements:
    """Read what rank 0 printed.

    Raises:
        RunError: It did not come to its end.
    """
    records = [record for line in lines if (record := parse(line)) is not None]
    start = [record for record in records if record["event"] == "start"]
    if not start or not any(record["event"] == "end" for record in records):
        raise RunError(
            "the measurement did not come to its end",
            where="collectives",
            remedy="see what the processes said above",
        )
    return Measurements(
        ranks=start[0]["ranks"],
        backend=start[0]["backend"],
        torch=start[0]["torch"],
        limit=start[0]["limit"],
        found=[_measurement(record) for record in records if record["event"] == "measured"],
    )


def _measurement(record: dict[str, Any]) -> Measurement:
    return Measurement(
        operation=record["operation"],
        bytes=record["bytes"],
        time_us=record["time_us"],
        algbw=record["algbw_gb_per_s"],
        busbw=record["busbw_gb_per_s"],
        wrong=record["wrong"],
    )
