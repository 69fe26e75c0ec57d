"""torchrun --standalone --nproc-per-node=2 -m collectives --most 67108864

Measures collectives between the processes that torchrun has started: gloo on CPUs, nccl on GPUs,
Neuron's own on Trainium (never run there). Rank 0 prints one JSON object per line. Exit status: 0
all is right, 1 numbers arrived that are wrong, 2 wrong arguments.
"""

import argparse
import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from collectives.bandwidth import ELEMENT_BYTES, OPERATIONS, bandwidths, elements, sizes
from collectives.operations import Prepared, prepare

WARM_UP = 3
LEAST_RUNS, MOST_RUNS = 3, 50
BUDGET_S = 0.5
"""About as long is measured at each size."""

BUFFERS = 5
"""Sent, received, expected, what makes these, and what the backend copies to."""

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Ranks:
    """This process among the others, and a store in which they leave numbers for rank 0."""

    def __init__(self, patience_s: float) -> None:
        patience = timedelta(seconds=patience_s)
        store, self.rank, self.ranks = next(dist.rendezvous("env://", timeout=patience))
        self.backend, self.device = _backend_and_device()
        dist.init_process_group(
            self.backend,
            store=dist.PrefixStore("collectives", store),
            rank=self.rank,
            world_size=self.ranks,
            timeout=patience,
        )
        # Not by a collective: it is those that are on trial.
        self.store, self.turn = dist.PrefixStore("results", store), 0

    def all_of(self, value: float) -> list[float]:
        """Return the numbers of all ranks, on every rank."""
        self.turn += 1
        self.store.set(f"{self.turn}/{self.rank}", repr(value))
        keys = [f"{self.turn}/{rank}" for rank in range(self.ranks)]
        return [float(self.store.get(key)) for key in keys]

    def wait(self) -> None:
        """Wait until the device has done what it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        elif self.device.type == "xla":
            import torch_xla.core.xla_model as xm  # noqa: PLC0415  # on Trainium alone

            xm.mark_step()
            xm.wait_device_ops()


def _backend_and_device() -> tuple[str, torch.device]:
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return "nccl", device
    if Path("/dev/neuron0").exists():
        import torch_xla.core.xla_model as xm  # noqa: PLC0415  # on Trainium alone
        import torch_xla.distributed.xla_backend  # noqa: F401, PLC0415  # makes the backend known

        return "xla", xm.xla_device()
    return "gloo", torch.device("cpu")


def memory_limit(device: torch.device) -> int:
    """Return the bytes of the largest buffer for which there is memory on this rank."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // BUFFERS
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    limits = [path.read_text().strip() for path in map(Path, CGROUP_LIMITS) if path.exists()]
    free += [int(limit) for limit in limits if limit.isdigit()]
    return min(free) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) // BUFFERS


def timed(prepared: Prepared, ranks: Ranks, runs: int) -> float:
    """Return the seconds of one run: the mean over `runs` and over the ranks."""
    dist.barrier()
    ranks.wait()
    begin = time.perf_counter()
    for _ in range(runs):
        prepared.run()
    ranks.wait()
    seconds = (time.perf_counter() - begin) / runs
    return sum(ranks.all_of(seconds)) / ranks.ranks


def measure(operation: str, size: int, ranks: Ranks) -> dict[str, object]:
    """Measure one operation at one size, and look at what arrived."""
    count = elements(operation, size, ranks.ranks)
    prepared = prepare(operation, count, ranks.device)
    rough = timed(prepared, ranks, WARM_UP)
    runs = min(MOST_RUNS, max(LEAST_RUNS, int(BUDGET_S / rough)))
    seconds = timed(prepared, ranks, runs)
    prepared.reset()
    dist.barrier()
    prepared.run()
    ranks.wait()
    wrong = int((prepared.result != prepared.expected).sum())
    algorithm, bus = bandwidths(operation, count * ELEMENT_BYTES, seconds, ranks.ranks)
    return {
        "operation": operation,
        "bytes": count * ELEMENT_BYTES,
        "count": count,
        "runs": runs,
        "time_us": round(seconds * 1e6, 2),
        "algbw_gb_per_s": float(f"{algorithm:.4g}"),
        "busbw_gb_per_s": float(f"{bus:.4g}"),
        "wrong": int(sum(ranks.all_of(wrong))),
    }


def main() -> int:
    """Measure what was asked for; return the exit status."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--least", type=int, default=8, help="bytes")
    parser.add_argument("--most", type=int, help="bytes; as much as memory allows unless given")
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    parser.add_argument("--patience-s", type=float, default=60, help="with other ranks")
    options = parser.parse_args()
    operations = options.operations.split(",")
    if unknown := sorted(set(operations) - set(OPERATIONS)):
        parser.error(f"there is no operation {unknown[0]}; there are {', '.join(OPERATIONS)}")
    torch.set_num_threads(1)
    ranks = Ranks(options.patience_s)
    limit = int(min(ranks.all_of(memory_limit(ranks.device))))
    most = min(options.most or limit, limit)
    if most < options.least:
        parser.error(f"memory allows {limit} bytes, {options.least} are the least")

    def say(event: str, **values: object) -> None:
        if ranks.rank == 0:
            print(json.dumps({"event": event, **values}), flush=True)

    say("start", ranks=ranks.ranks, backend=ranks.backend, torch=torch.__version__, limit=limit)
    wrong = 0
    for operation in operations:
        for size in sizes(options.least, most):
            found = measure(operation, size, ranks)
            wrong += int(str(found["wrong"]))
            say("measured", **found)
    say("end", wrong=wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # a gloo thread may abort a process that ends in the usual way
