"""Longer trainings of the fsdp test case, for `python -m unittest check_fsdp_long` in the image.

Standard library and torch only; test_fsdp_program.py starts them and reports each.
"""
# ruff: noqa: PT009  # the image has no pytest

import signal
import unittest
from typing import Any

import configuration
from check_fsdp_failures import signalled
from fsdp_ranks import BOUND, FEW, Runs, options, run_ranks


class Broken(Runs):
    """The promised bound tells a training that is broken from one that is not."""

    def loss(self, prepare: Any) -> float:
        run = run_ranks(1, options(self.folder, checkpoint_every=1000), prepare)
        self.assert_done(run)
        return float(run.of("final")[0]["loss"])

    def test_an_optimizer_that_goes_uphill_misses_it(self) -> None:
        self.assertGreater(self.loss(go_uphill), BOUND + 1)

    def test_an_optimizer_that_stands_still_misses_it(self) -> None:
        self.assertGreater(self.loss(stand_still), BOUND + 1)


def go_uphill(_rank: int) -> None:
    rate = configuration.Configuration.rate
    # A negative rate is refused by AdamW alone when it is made.
    configuration.Configuration.rate = lambda self, step: -rate(self, step) / 10


def stand_still(_rank: int) -> None:
    configuration.Configuration.rate = lambda _self, _step: 0.0


class Training(Runs):
    def test_experts_bf16_and_recomputation_train_too(self) -> None:
        changes = {"experts": 4, "experts_per_token": 2, "precision": "bf16", "recompute": "true"}
        run = self.train(2, steps=24, **changes)
        self.assert_done(run)
        self.assertLess(run.losses[24], run.losses[1] - 1.5)


class BadDays(Runs):
    def test_a_rank_that_hangs_stops_the_others_within_their_patience(self) -> None:
        patience = [*options(self.folder, **FEW), "--timeout-s=3"]
        run = run_ranks(2, patience, signalled(1, signal.SIGSTOP))
        self.assertEqual(run.statuses[0], 1)
        self.assertLess(run.seconds, 15)
        self.assertIn("rank 1 of 2 was killed or does not answer", run.error)

    def test_where_the_first_node_is_lost_the_others_say_so(self) -> None:
        run = self.train(3, signalled(0, signal.SIGKILL), global_batch_size=6)
        self.assertEqual(run.statuses, [-signal.SIGKILL, 1, 1])
        for said in run.printed[1:]:
            self.assertIn("rank 0's node is gone", said)

    def test_of_several_ranks_the_lost_one_is_named(self) -> None:
        run = self.train(3, signalled(1, signal.SIGKILL), global_batch_size=6)
        self.assertEqual(run.statuses, [1, -signal.SIGKILL, 1])
        for said in (run.printed[0], run.printed[2]):
            self.assertIn("rank 1 of 3 was killed or does not answer", said)


if __name__ == "__main__":
    unittest.main()
