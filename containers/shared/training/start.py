"""python -m training.start --nnodes 2 --node-rank 0 --master-addr node0 --nproc-per-node 2 train.py

Starts a Python process for each rank of this node, for frameworks that bring no starter of their
own. Each has RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT. When one
fails the others of this node are ended, and its exit status is this program's.
"""

import argparse
import os
import signal
import subprocess
import sys
import time

GRACE_S = 10.0


def environment_of(options: argparse.Namespace, local_rank: int) -> dict[str, str]:
    """Return the environment of one rank."""
    ranks = options.nproc_per_node
    return {
        **os.environ,
        "RANK": str(options.node_rank * ranks + local_rank),
        "LOCAL_RANK": str(local_rank),
        "WORLD_SIZE": str(options.nnodes * ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": options.master_addr,
        "MASTER_PORT": str(options.master_port),
    }


def follow(processes: list[subprocess.Popen[bytes]]) -> int:
    """Wait for all, or for the first that fails; return the exit status of that one, else 0."""
    while True:
        statuses = [process.poll() for process in processes]
        failed = [(rank, status) for rank, status in enumerate(statuses) if status]
        if failed:
            local_rank, status = failed[0]
            told = f"signal {-status}" if status < 0 else f"status {status}"
            sys.stderr.write(f"local rank {local_rank} ended with {told}; ending the others\n")
            return 128 - status if status < 0 else status
        if all(status == 0 for status in statuses):
            return 0
        time.sleep(0.1)


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End those that still run: first politely, then for good."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    for process in processes:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> int:
    """Start the ranks of this node and wait for them; return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nnodes", type=int, default=1)
    parser.add_argument("--node-rank", type=int, default=0)
    parser.add_argument("--nproc-per-node", type=int, default=1)
    parser.add_argument("--master-addr", default="127.0.0.1")
    parser.add_argument("--master-port", type=int, default=29500)
    parser.add_argument("program", nargs=argparse.REMAINDER, help="train.py and its arguments")
    options = parser.parse_args()
    processes: list[subprocess.Popen[bytes]] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for local_rank in range(options.nproc_per_node):
            command = [sys.executable, *options.program]
            processes.append(subprocess.Popen(command, env=environment_of(options, local_rank)))
        return follow(processes)
    finally:
        end(processes)


if __name__ == "__main__":
    sys.exit(main())
