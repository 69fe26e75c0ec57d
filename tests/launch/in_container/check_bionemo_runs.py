"""Runs of the bionemo test case by several ranks, for `python -m unittest check_bionemo_runs`.

Inside the image; the ranks are forked, as fsdp_ranks does.
"""
# ruff: noqa: PT009  # the image has no pytest

import json
import os
import resource
import signal
import tempfile
import unittest
from functools import cache
from pathlib import Path
from typing import Any

import configuration
import fsdp_ranks
import train
from fsdp_ranks import Ended, run_ranks

fsdp_ranks.LONG_ENOUGH_S = 240  # the whole training takes longer than fsdp's on a busy machine
BOUND = 2.83  # held-out loss that case.yml promises
UNIGRAM = 2.8446  # what the frequencies of the residues alone give on the same places
FEW: dict[str, Any] = {"steps": 16, "warmup_steps": 2, "checkpoint_every": 4, "length": 48}
TINY = Path(train.__file__).parent / "configurations/tiny.json"


def options(folder: Path, **changes: Any) -> list[str]:
    """A command line with some keys of the configuration changed."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {**json.loads(TINY.read_text()), **changes}
    path = folder.with_suffix(".json")
    path.write_text(json.dumps(values))
    return [f"--checkpoints={folder}", f"--configuration={path}", "--timeout-s=20"]


class Runs(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "checkpoints"

    def train(self, ranks: int = 2, prepare: Any = lambda _: None, **changes: Any) -> Ended:
        return run_ranks(ranks, options(self.folder, **{**FEW, **changes}), prepare)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def assert_done(self, run: Ended) -> None:
        self.assertEqual(set(run.statuses), {0}, run.printed)


@cache
def whole() -> Ended:
    """The default configuration as it is, by two ranks."""
    with tempfile.TemporaryDirectory() as folder:
        return run_ranks(2, options(Path(folder) / "checkpoints"))


@cache
def short() -> Ended:
    """A short training by two ranks."""
    with tempfile.TemporaryDirectory() as folder:
        return run_ranks(2, options(Path(folder) / "checkpoints", **FEW))


class Training(Runs):
    def test_the_default_configuration_reaches_what_is_promised(self) -> None:
        self.assert_done(whole())
        final = whole().of("final")[0]
        self.assertLess(final["loss"], BOUND)
        self.assertLess(BOUND, UNIGRAM, "the bound takes a look at the neighbours")
        self.assertEqual((final["held_out"], final["hidden"]), (209, 3875))
        start = whole().of("start")[0]
        self.assertEqual((start["parameters"], start["samples"]), (106_529, 1886))
        self.assertEqual([r["step"] for r in whole().of("checkpoint")], [50, 100, 150])

    def test_one_and_four_ranks_have_the_losses_of_two(self) -> None:
        for ranks in (1, 4):
            self.folder = self.folder.with_name(str(ranks))
            run = self.train(ranks)
            self.assert_done(run)
            for step, loss in short().losses.items():
                self.assertAlmostEqual(run.losses[step] / loss, 1, delta=1e-4)

    def test_micro_batches_make_no_difference(self) -> None:
        run = self.train(2, micro_batch_size=3)
        self.assert_done(run)
        for step, loss in short().losses.items():
            self.assertAlmostEqual(run.losses[step] / loss, 1, delta=1e-4)


class Broken(Runs):
    def test_an_optimizer_that_stands_still_misses_the_bound(self) -> None:
        run = self.train(1, stand_still)
        self.assert_done(run)
        self.assertGreater(run.of("final")[0]["loss"], BOUND + 0.5)

    def test_ranks_that_keep_their_own_gradients_are_found_out(self) -> None:
        run = self.train(2, keep_own_gradients)
        self.assertEqual(run.statuses, [1, 1])
        self.assertIn("the ranks ended with different parameters", run.printed[0])


def stand_still(_rank: int) -> None:
    configuration.Configuration.rate = lambda _self, _step: 0.0


def keep_own_gradients(_rank: int) -> None:
    class Alone(train.DistributedDataParallel):
        def forward(self, *values: Any) -> Any:
            with self.no_sync():
                return super().forward(*values)

    train.DistributedDataParallel = Alone


class Resume(Runs):
    def test_it_repeats_an_unbroken_training_to_the_last_bit(self) -> None:
        run = self.train(2, after_step(11, lambda: os.kill(os.getpid(), signal.SIGKILL), rank=0))
        self.assertEqual(run.statuses[0], -signal.SIGKILL)
        self.assertEqual(run.statuses[1], 1)
        self.assertLess(run.seconds, 30)
        self.assert_done(again := self.train())
        self.assertEqual([r["step"] for r in again.of("resume")], [8])
        self.assertEqual(again.losses, {s: x for s, x in short().losses.items() if s > 8})
        keys = ("loss", "parameters_sha256")
        last, wanted = (one.of("final")[0] for one in (again, short()))
        self.assertEqual([last[k] for k in keys], [wanted[k] for k in keys])
        self.assertEqual(self.names(), ["step-00000012", "step-00000016"])

    def test_a_checkpoint_of_another_model_is_refused_and_stays(self) -> None:
        self.assert_done(self.train(1, steps=4))
        shape = json.loads(TINY.read_text())["architecture"]
        run = self.train(2, steps=4, architecture={**shape, "layers": 3})
        self.assertEqual(run.statuses, [2, 2])
        self.assertIn("layers was 2, is 3", run.error)
        self.assertEqual(self.names(), ["step-00000004"])

    def test_a_damaged_checkpoint_is_named(self) -> None:
        self.assert_done(self.train(1, steps=4))
        (self.folder / "step-00000004" / train.STATE).write_bytes(b"no checkpoint")
        run = self.train(2, steps=4)
        self.assertEqual(run.statuses, [2, 2])
        self.assertIn("step-00000004 is damaged", run.error)


class BadDays(Runs):
    def test_a_full_disk_leaves_the_checkpoint_before(self) -> None:
        limits = (100_000, resource.RLIM_INFINITY)
        full = after_step(5, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits), rank=0)
        run = self.train(2, full)
        self.assertEqual(run.statuses, [1, 1])
        self.assertIn("the checkpoint of step 8 cannot be written", run.error)
        self.assertIn("that of step 4 is whole", run.error)
        self.assertEqual(self.names(), ["step-00000004"])

    def test_a_loss_that_is_not_finite_has_its_own_status(self) -> None:
        run = self.train(2, learning_rate=1e30, gradient_clip=1e30)
        self.assertEqual(run.statuses, [3, 3])
        self.assertRegex(run.error, r"(nan|inf).* at step \d+")

    def test_ranks_that_do_not_divide_the_batch_are_told(self) -> None:
        run = self.train(3)
        self.assertEqual(run.statuses, [2, 2, 2])
        self.assertIn("3 ranks do not divide global_batch_size, 16", run.error)


def after_step(number: int, action: Any, *, rank: int) -> Any:
    """Do something on a rank when it has done a step."""

    def prepare(mine: int) -> None:
        real = train.Trainer._train_step

        def hook(self: Any) -> Any:
            done = real(self)
            if self.step == number:
                action()
            return done

        if mine == rank:
            train.Trainer._train_step = hook

    return prepare


if __name__ == "__main__":
    unittest.main()
