"""The processes of a training: how they meet, and what the others say when one of them is lost."""

import contextlib
import os
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from training.records import Stop

FAILED = 1
ROLL_CALL_S = 3.0
LOST = "lost the others"


class Ranks:
    """This process among the others."""

    def __init__(self, timeout_s: float) -> None:
        """Meet the others, by the variables that torchrun sets.

        Args:
            timeout_s: How long a collective waits for a rank that does not answer.
        """
        self.patience = timedelta(seconds=timeout_s)
        cuda = torch.cuda.is_available()
        self.local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(self.device)
        self.store, self.rank, self.ranks = next(dist.rendezvous("env://", timeout=self.patience))
        # The store of its own name is asked who is still there, when nothing else works any more.
        self.roll = dist.PrefixStore("roll call", self.store)
        self.backend = "nccl" if cuda else "gloo"
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=dist.PrefixStore("training", self.store),
            rank=self.rank,
            world_size=self.ranks,
            timeout=self.patience,
        )
        # Checkpoints are agreed on by threads of their own, at any time: in another group than the
        # training's, whose messages theirs would mix with.
        self.control_group = dist.new_group(backend="gloo", timeout=self.patience)
        self.checkpoint_group = dist.new_group(backend="gloo", timeout=self.patience)

    def explain(self, error: BaseException) -> Stop:
        """Say why this rank cannot go on: its own error, or which other ranks are gone.

        An error in a collective tells only that somebody did not answer. So each rank that stops
        leaves its reason in the store, and who has left none after a while is lost.
        """
        communication = isinstance(error, RuntimeError) and _is_of_communication(str(error))
        mine = LOST if communication else f"{type(error).__name__}: {error}".splitlines()[0]
        self.leave(mine)
        try:
            told = self._others() if communication else mine
        except Exception as gone:  # noqa: BLE001  # whatever it is, there is no store to ask
            told = f"the store on rank 0's node is gone ({type(gone).__name__})"
        message = f"rank {self.rank} stops: {told}"
        if communication:
            message += f"; {str(error).splitlines()[0]}"
        sys.stderr.write(f"{message}\n")
        return Stop(FAILED, message)

    def leave(self, reason: str) -> None:
        """Tell the others why this rank stops, if they can still be told."""
        with contextlib.suppress(Exception):
            self.roll.set(str(self.rank), reason)

    def _others(self) -> str:
        others = [rank for rank in range(self.ranks) if rank != self.rank]
        until = time.monotonic() + ROLL_CALL_S
        while time.monotonic() < until and not self.roll.check([str(rank) for rank in others]):
            time.sleep(0.1)
        here = [rank for rank in others if self.roll.check([str(rank)])]
        reasons = {rank: self.roll.get(str(rank)).decode() for rank in here}
        told = [f"rank {rank}: {reason}" for rank, reason in reasons.items() if reason != LOST]
        if gone := [rank for rank in others if rank not in here]:
            names = ", ".join(map(str, gone))
            told.append(f"rank {names} of {self.ranks} was killed or does not answer")
        return "; ".join(told) or "the connection between ranks broke"


def _is_of_communication(message: str) -> bool:
    signs = ("gloo", "NCCL", "Connection", "Timed out", "timed out", "Broken pipe", "TCPStore")
    return any(sign in message for sign in signs)
