"""Algorithm and bus bandwidth by the definitions of nccl-tests, and the sizes to measure.

https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md, and the functions `…GetBw` in
its `src/`. A size is that of the whole buffer: what an all_gather ends with, what a reduce_scatter
begins with, what each rank of an all_to_all sends in all. Standard library only.
"""

ELEMENT_BYTES = 4
"""Of float32, in which all is measured."""

SPLIT = ("all_gather", "reduce_scatter", "all_to_all")
"""Operations in which each rank's part is one n-th of the buffer."""

OPERATIONS = ("all_reduce", *SPLIT, "broadcast", "sendrecv")


def bus_factor(operation: str, ranks: int) -> float:
    """Return the bus bandwidth as a multiple of the algorithm bandwidth.

    Raises:
        ValueError: There is no such operation.
    """
    if operation == "all_reduce":
        return 2 * (ranks - 1) / ranks
    if operation in SPLIT:
        return (ranks - 1) / ranks
    if operation in OPERATIONS:
        return 1.0
    raise ValueError(f"there is no operation {operation}")


def bandwidths(operation: str, size: int, seconds: float, ranks: int) -> tuple[float, float]:
    """Return algorithm and bus bandwidth in GB/s (10^9 bytes).

    Args:
        operation: One of `OPERATIONS`.
        size: Bytes of the whole buffer.
        seconds: Of one operation.
        ranks: Processes that take part.
    """
    algorithm = size / seconds / 1e9
    return algorithm, algorithm * bus_factor(operation, ranks)


def elements(operation: str, size: int, ranks: int) -> int:
    """Return the float32 numbers of the whole buffer: a multiple of the ranks where it is split."""
    count = max(1, size // ELEMENT_BYTES)
    if operation in SPLIT:
        return max(1, count // ranks) * ranks
    return count


def sizes(least: int, most: int) -> list[int]:
    """Return the sizes from `least` to `most` bytes, each twice the one before.

    Raises:
        ValueError: There is none.
    """
    if not 1 <= least <= most:
        raise ValueError(f"there is no size from {least} to {most} bytes")
    found = [least]
    while found[-1] * 2 <= most:
        found.append(found[-1] * 2)
    return found
