"""Do processes reach each other, are their sums right, and how fast."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time

from bakehouse.checks.host import VENV_PYTHON, Host
from bakehouse.checks.registry import check
from bakehouse.checks.result import Outcome, skipped

RANKS = 2
MESSAGE_MIB = 16
FLOOR_GB_PER_S = 0.13
FLOOR_SOURCE = "a tenth of 1.3 GB/s, measured on two ranks of a 2-core machine in November 2026"

_PROGRAM = """
import datetime, json, os, sys, time, torch, torch.distributed as d
rank, ranks, mib, store = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(1)
d.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=ranks,
                     timeout=datetime.timedelta(seconds=30))
right, best = True, 1e9
for _ in range(5):
    t = torch.full((mib << 18,), float(rank + 1))
    d.barrier()
    start = time.perf_counter()
    d.all_reduce(t)
    best = min(best, time.perf_counter() - start)
    right = right and bool((t == ranks * (ranks + 1) / 2).all())
# nccl-tests' definition: bytes / time, times 2 (n - 1) / n for an all-reduce.
bus = (mib << 20) / best * 2 * (ranks - 1) / ranks / 1e9
if rank == 0:
    print(json.dumps({"right": right, "gb_per_s": round(bus, 3)}), flush=True)
os._exit(0)  # a gloo thread may abort a process that ends in the usual way
"""


@check("gloo-all-reduce", "collectives", "Two processes sum over gloo, rightly and fast enough")
def gloo_all_reduce(host: Host) -> Outcome:
    """All-reduce of 16 MiB between two processes of this machine; bus bandwidth in GB/s."""
    if "error" in host.torch():
        return skipped("PyTorch does not import")
    with tempfile.TemporaryDirectory(prefix="bakehouse-check-") as folder:
        outputs = _run_ranks(host, folder)
    found = json.loads(outputs)
    expected = f"sum right, at least {FLOOR_GB_PER_S} GB/s"
    measured = f"{found['gb_per_s']} GB/s at {MESSAGE_MIB} MiB, {RANKS} ranks"
    if not found["right"]:
        return Outcome("fail", measured, expected, "arithmetic", "the sum is wrong", "check memory")
    if not found["gb_per_s"] >= FLOOR_GB_PER_S:  # what is not a number is not enough
        return Outcome(
            "warn", measured, expected, FLOOR_SOURCE, "slower than expected",
            "see what else runs on this machine",
        )  # fmt: skip
    return Outcome("pass", measured, expected, FLOOR_SOURCE)


def _run_ranks(host: Host, folder: str) -> str:
    store = os.path.join(folder, "store")
    commands = [
        [VENV_PYTHON, "-c", _PROGRAM, str(rank), str(RANKS), str(MESSAGE_MIB), store]
        for rank in range(RANKS)
    ]
    ends = time.monotonic() + host.budget_s
    processes = [
        subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for c in commands
    ]
    try:
        results = [p.communicate(timeout=max(ends - time.monotonic(), 0)) for p in processes]
    except subprocess.TimeoutExpired:
        raise TimeoutError("the two processes did not meet") from None
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if any(process.returncode for process in processes):
        raise ValueError("; ".join(errors.strip()[-200:] for _, errors in results))
    return results[0][0]
