"""What breaks trainings of fsdp, for `python -m unittest check_fsdp_failures` in the image.

Standard library and torch only; test_fsdp_program.py starts them and reports each.
"""
# ruff: noqa: PT009  # the image has no pytest

import os
import resource
import signal
import unittest
from pathlib import Path
from typing import Any

import checkpoint
import configuration
import torch.distributed as dist
import train
from fsdp_ranks import BOUND, Runs, names, options, run_ranks, steps
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultReduceScatter


class Broken(Runs):
    """The promised bound tells a training that is broken from one that is not."""

    def loss(self, ranks: int, prepare: Any) -> float:
        run = run_ranks(ranks, options(self.folder, checkpoint_every=1000), prepare)
        self.assert_done(run)
        return float(run.of("final")[0]["loss"])

    def test_ranks_that_keep_their_own_gradients_miss_it(self) -> None:
        self.assertGreater(self.loss(2, keep_own_gradients), BOUND + 0.05)


class Own(DefaultReduceScatter):
    """Takes from the sum over ranks what the others gave."""

    def __call__(
        self, output_tensor: Any, input_tensor: Any, group: Any, op: Any, async_op: bool = False
    ) -> None:
        assert (op, async_op) == (dist.ReduceOp.AVG, False)
        output_tensor.copy_(input_tensor.chunk(group.size())[group.rank()])


def keep_own_gradients(_rank: int) -> None:
    made = train.make_model

    def make(config: configuration.Configuration, ranks: Any) -> Any:
        model = made(config, ranks)
        for module in (*model.blocks, model):
            module.set_custom_reduce_scatter(Own())
        return model

    train.make_model = make


class BadDays(Runs):
    def test_a_checkpoint_counts_only_when_all_ranks_have_written_it(self) -> None:
        often = {"steps": 30, "checkpoint_every": 10}
        run = self.train(2, full_from(20), **often)
        self.assertEqual(run.statuses, [1, 1])
        self.assertIn("the checkpoint of step 20 cannot be written: rank 1: ", run.error)
        self.assertIn("that of step 10 is whole", run.error)
        self.assertLess(max(run.losses), 30, "not only when the next one is due")
        self.assertEqual(names(self.folder), steps(10))
        self.assert_done(again := self.train(2, **often))
        self.assertEqual([r["step"] for r in again.of("resume")], [10])

    def test_a_killed_rank_stops_the_others_who_say_which(self) -> None:
        run = self.train(2, signalled(1, signal.SIGKILL))
        self.assertEqual(run.statuses, [1, -signal.SIGKILL])
        self.assertLess(run.seconds, 20)
        self.assertIn("rank 1 of 2 was killed", run.error)

    def test_the_error_of_one_rank_is_told_by_the_others(self) -> None:
        run = self.train(2, out_of_memory)
        self.assertEqual(run.statuses, [1, 1])
        self.assertIn("rank 1: MemoryError: no more of it", run.error)

    def test_a_loss_that_is_not_finite_has_its_own_status(self) -> None:
        run = self.train(2, learning_rate=1e30, gradient_clip=1e30)
        self.assertEqual(run.statuses, [3, 3])
        self.assertRegex(run.error, r"(nan|inf).* at step \d+")

    def test_nodes_with_checkpoint_folders_of_their_own_are_told(self) -> None:
        run = self.train(2, own_folder)
        self.assertEqual(run.statuses, [2, 2])
        self.assertIn("is not shared: rank 1 does not see", run.error)


def after_step(number: int, action: Any) -> None:
    """Do something on this rank when a step is done."""
    real = train.Trainer._after_step

    def hook(self: Any, *values: float) -> None:
        if self.step == number:
            action()
        real(self, *values)

    train.Trainer._after_step = hook


def full_from(step: int) -> Any:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))

    return lambda rank: after_step(step, limit) if rank == 1 else None


def signalled(lost: int, number: signal.Signals) -> Any:
    def prepare(rank: int) -> None:
        if rank == lost:
            after_step(6, lambda: os.kill(os.getpid(), number))

    return prepare


def out_of_memory(rank: int) -> None:
    def fail() -> None:
        raise MemoryError("no more of it")

    if rank == 1:
        after_step(6, fail)


def own_folder(rank: int) -> None:
    if rank == 1:
        made = checkpoint.Checkpoints.__init__

        def elsewhere(self: Any, folder: Path, *values: Any) -> None:
            made(self, folder.with_name("of-my-own"), *values)

        checkpoint.Checkpoints.__init__ = elsewhere


if __name__ == "__main__":
    unittest.main()
