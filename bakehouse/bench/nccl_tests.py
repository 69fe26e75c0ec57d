"""Reading the tables that nccl-tests prints, to compare with ours size by size."""

import re
from pathlib import Path

from bakehouse.bench.measurements import Measurement
from bakehouse.errors import InputError

PROGRAMS = {
    "all_reduce_perf": "all_reduce",
    "all_gather_perf": "all_gather",
    "reduce_scatter_perf": "reduce_scatter",
    "alltoall_perf": "all_to_all",
    "broadcast_perf": "broadcast",
    "sendrecv_perf": "sendrecv",
}
"""What each program of nccl-tests measures, by our names."""

# A row begins with size, count and type; redop and root are not in every version. Then come time,
# both bandwidths and what was wrong (N/A where nobody looked), out of place and then in place.
_ROW = re.compile(
    r"^\s*(?P<size>\d+)\s+\d+\s+[a-z]\w*\s+(?:[a-z]+\s+)?(?:-?\d+\s+)?"
    r"(?P<time>\d+\.\d+|\d+)\s+(?P<alg>\d+\.\d+)\s+(?P<bus>\d+\.\d+)\s+(?P<wrong>[\d.e+-]+|N/A)\s"
)
_NAME = re.compile(rf"\b({'|'.join(PROGRAMS)})\b")


def read(path: Path) -> list[Measurement]:
    """Out-of-place rows of a file that holds what one program printed.

    Raises:
        InputError: The file cannot be read, names none of the programs, or has no row.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    name = _NAME.search(text)
    if name is None:
        raise InputError(
            "it does not say which program printed it",
            where=str(path),
            remedy=f"the output must name one of {', '.join(PROGRAMS)}; add a line that does",
        )
    rows = [match for line in text.splitlines() if (match := _ROW.match(line))]
    if not rows:
        raise InputError("it has no row of measurements", where=str(path))
    return [
        Measurement(
            operation=PROGRAMS[name[1]],
            bytes=int(row["size"]),
            time_us=float(row["time"]),
            algbw=float(row["alg"]),
            busbw=float(row["bus"]),
            wrong=0 if row["wrong"] == "N/A" else int(float(row["wrong"])),
        )
        for row in rows
    ]


def ratios(ours: list[Measurement], theirs: list[Measurement]) -> list[tuple[str, int, float]]:
    """Operation, size, and our bus bandwidth as a multiple of theirs, where both measured.

    What nccl-tests rounds to 0.00 GB/s is left out.
    """
    known = {(one.operation, one.bytes): one.busbw for one in theirs if one.busbw > 0}
    return [
        (one.operation, one.bytes, one.busbw / known[one.operation, one.bytes])
        for one in ours
        if (one.operation, one.bytes) in known
    ]
