"""Trainings of the fsdp test case, for `python -m unittest check_fsdp_runs` inside the image.

Standard library and torch only; test_fsdp_program.py starts them and reports each.
"""
# ruff: noqa: PT009, PT027  # the image has no pytest

import os
import resource
import shutil
import signal
import tempfile
import unittest
from functools import cache
from pathlib import Path
from typing import Any

import checkpoint
import configuration
import torch.distributed as dist
import train
from fsdp_ranks import Ended, run_ranks
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultReduceScatter

BOUND = 2.7  # held-out loss that case.yml promises
TOLERANCE = 1e-3  # of losses, between numbers of ranks
FEW = {"steps": 24, "warmup_steps": 4, "checkpoint_every": 8, "validation_windows": 16}


def options(folder: Path, **changes: Any) -> list[str]:
    """A command line with some keys of the configuration changed."""
    told = [f"--checkpoints={folder}", "--timeout-s=20"]
    return told + [f"--set={name}={value}" for name, value in changes.items()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def steps(*numbers: int) -> list[str]:
    return [f"step-{number:08d}" for number in numbers]


class Runs(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "checkpoints"

    def train(self, ranks: int = 2, prepare: Any = lambda rank: None, **changes: Any) -> Ended:
        return run_ranks(ranks, options(self.folder, **{**FEW, **changes}), prepare)

    def assert_done(self, run: Ended) -> None:
        self.assertEqual(set(run.statuses), {0}, run.printed)

    def assert_close(self, found: dict[int, float], expected: dict[int, float]) -> None:
        self.assertEqual(found.keys(), expected.keys())
        for step, loss in expected.items():
            self.assertAlmostEqual(found[step] / loss, 1, delta=TOLERANCE, msg=f"step {step}")


@cache
def unbroken() -> tuple[Ended, tempfile.TemporaryDirectory[str]]:
    """A short training by two ranks, and its checkpoints of steps 8, 16 and 24."""
    folder = tempfile.TemporaryDirectory()
    return run_ranks(2, options(Path(folder.name), **FEW)), folder


@cache
def whole() -> Ended:
    """The default configuration as it is, by two ranks."""
    with tempfile.TemporaryDirectory() as folder:
        return run_ranks(2, options(Path(folder)))


class Training(Runs):
    def test_the_default_configuration_reaches_what_is_promised(self) -> None:
        self.assert_done(whole())
        self.assertLess(whole().of("final")[0]["loss"], BOUND)
        losses = whole().losses
        self.assertEqual(list(losses), list(range(1, 121)), "every step once, and none too many")
        self.assertLess(losses[120], losses[1] - 2.5)

    def test_its_records_have_what_they_must(self) -> None:
        start, final = whole().of("start")[0], whole().of("final")[0]
        self.assertEqual((start["world_size"], start["backend"]), (2, "gloo"))
        self.assertEqual(start["samples"] + final["held_out"], 7302)
        self.assertEqual(start["parameters"], 131_392)
        for record in (*whole().of("step"), final):
            self.assertGreater(record["tokens_per_s"], 0)
        self.assertEqual([r["step"] for r in whole().of("checkpoint")], [30, 60, 90, 120])
        self.assertEqual([r["step"] for r in whole().of("validation")], [60])

    def test_one_two_and_four_ranks_have_the_same_losses(self) -> None:
        expected, _ = unbroken()
        self.assert_done(expected)
        for ranks in (1, 4):
            self.folder = self.folder.with_name(str(ranks))
            run = self.train(ranks)
            self.assert_done(run)
            self.assert_close(run.losses, expected.losses)
            found, held_out = (one.of("final")[0]["loss"] for one in (run, expected))
            self.assertAlmostEqual(found / held_out, 1, delta=TOLERANCE)

    def test_hybrid_sharding_has_the_same_losses_and_really_has_replicas(self) -> None:
        run = self.train(4, told_what_is_held, sharding="hybrid", shard_ranks=2)
        self.assert_done(run)
        self.assert_close(run.losses, unbroken()[0].losses)
        self.assertIn("held: (2, 2) (Replicate(), Shard(dim=0)) 65696", run.printed[3])

    def test_experts_bf16_and_recomputation_train_too(self) -> None:
        changes = {"experts": 4, "experts_per_token": 2, "precision": "bf16", "recompute": "true"}
        run = self.train(2, **changes)
        self.assert_done(run)
        self.assertLess(run.losses[24], run.losses[1] - 1.5)


def told_what_is_held(_rank: int) -> None:
    made = train.make_model

    def make(config: configuration.Configuration, ranks: Any) -> Any:
        model = made(config, ranks)
        placed = [(p.device_mesh.shape, p.placements) for p in model.parameters()]
        held = sum(p.to_local().numel() for p in model.parameters())
        assert len(set(placed)) == 1
        os.write(2, f"held: {placed[0][0]} {placed[0][1]} {held}\n".encode())
        return model

    train.make_model = make


class Broken(Runs):
    """The promised bound tells a training that is broken from one that is not."""

    def loss(self, ranks: int, prepare: Any) -> float:
        run = run_ranks(ranks, options(self.folder, checkpoint_every=1000), prepare)
        self.assert_done(run)
        return float(run.of("final")[0]["loss"])

    def test_ranks_that_keep_their_own_gradients_miss_it(self) -> None:
        self.assertGreater(self.loss(2, keep_own_gradients), BOUND + 0.05)

    def test_an_optimizer_that_goes_uphill_misses_it(self) -> None:
        self.assertGreater(self.loss(1, go_uphill), BOUND + 1)

    def test_an_optimizer_that_stands_still_misses_it(self) -> None:
        self.assertGreater(self.loss(1, stand_still), BOUND + 1)


class Own(DefaultReduceScatter):
    """Takes from the sum over ranks what the others gave."""

    def __call__(
        self, output_tensor: Any, input_tensor: Any, group: Any, op: Any, async_op: bool = False
    ) -> None:
        assert op == dist.ReduceOp.AVG and not async_op
        output_tensor.copy_(input_tensor.chunk(group.size())[group.rank()])


def keep_own_gradients(_rank: int) -> None:
    made = train.make_model

    def make(config: configuration.Configuration, ranks: Any) -> Any:
        model = made(config, ranks)
        for module in (*model.blocks, model):
            module.set_custom_reduce_scatter(Own())
        return model

    train.make_model = make


def go_uphill(_rank: int) -> None:
    rate = configuration.Configuration.rate
    # A negative rate is refused by AdamW alone when it is made.
    configuration.Configuration.rate = lambda self, step: -rate(self, step) / 10


def stand_still(_rank: int) -> None:
    configuration.Configuration.rate = lambda _self, _step: 0.0


class Resume(Runs):
    def from_step(self, step: int, ranks: int, **changes: Any) -> Ended:
        """A training that goes on after a checkpoint of the unbroken one."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(unbroken()[1].name, self.folder)
        for name in names(self.folder):
            if name > steps(step)[0]:
                shutil.rmtree(self.folder / name)
        return self.train(ranks, **changes)

    def test_it_repeats_an_unbroken_training_to_the_last_bit(self) -> None:
        expected = unbroken()[0]
        run = self.from_step(8, 2)
        self.assert_done(run)
        self.assertEqual([(r["step"], r["ranks"]) for r in run.of("resume")], [(8, 2)])
        self.assertEqual(run.losses, {s: x for s, x in expected.losses.items() if s > 8})
        keys = ("loss", "parameters_sha256")
        last, wanted = (one.of("final")[0] for one in (run, expected))
        self.assertEqual([last[k] for k in keys], [wanted[k] for k in keys])

    def test_other_numbers_of_ranks_go_on_with_the_same_losses(self) -> None:
        expected = {s: x for s, x in unbroken()[0].losses.items() if s > 8}
        for ranks, changes in ((1, {}), (4, {"sharding": "hybrid", "shard_ranks": 2})):
            run = self.from_step(8, ranks, **changes)
            self.assert_done(run)
            self.assert_close(run.losses, expected)

    def test_a_finished_training_only_validates(self) -> None:
        run = self.from_step(24, 2)
        self.assertEqual([r["event"] for r in run.records], ["start", "resume", "final"])
        self.assertEqual(run.of("final")[0]["loss"], unbroken()[0].of("final")[0]["loss"])

    def test_a_checkpoint_of_another_model_is_refused(self) -> None:
        run = self.from_step(24, 2, layers=3, seed=7)
        self.assertEqual(run.statuses, [2, 2])
        self.assertIn("layers was 2, is 3; seed was 12345, is 7", run.error)
        self.assertEqual(names(self.folder), steps(8, 16, 24), "and it is still there")

    def test_a_damaged_checkpoint_is_named(self) -> None:
        def damage(rank: int) -> None:
            if rank == 1:
                (self.folder / steps(24)[0] / "__1_0.distcp").write_bytes(b"no checkpoint")

        shutil.copytree(unbroken()[1].name, self.folder)
        run = self.train(2, damage)
        self.assertEqual(run.statuses, [2, 2])
        self.assertIn("step-00000024 is damaged: rank 1", run.error)

    def test_the_newest_are_kept_and_what_a_kill_left_is_removed(self) -> None:
        half = self.folder / steps(4)[0]
        half.mkdir(parents=True)
        (half / "__0_0.distcp").write_bytes(b"half")
        self.assert_done(self.train(2, keep_checkpoints=2))
        self.assertEqual(names(self.folder), steps(16, 24))


class BadDays(Runs):
    def test_a_checkpoint_counts_only_when_all_ranks_have_written_it(self) -> None:
        run = self.train(2, full_from(16))
        self.assertEqual(run.statuses, [1, 1])
        self.assertIn("the checkpoint of step 16 cannot be written: rank 1: ", run.error)
        self.assertIn("that of step 8 is whole", run.error)
        self.assertEqual(names(self.folder), steps(8))
        self.assert_done(again := self.train(2))
        self.assertEqual([r["step"] for r in again.of("resume")], [8])

    def test_a_killed_rank_stops_the_others_who_say_which(self) -> None:
        for lost, others in ((1, (0, 2)), (0, (1, 2))):
            with self.subTest(lost=lost):
                run = self.train(3, signalled(lost, signal.SIGKILL), global_batch_size=6)
                self.assertEqual(run.statuses[lost], -signal.SIGKILL)
                self.assertLess(run.seconds, 20)
                for rank in others:
                    self.assertEqual(run.statuses[rank], 1)
                    named = f"rank {lost} of 3 was killed" if lost else "rank 0's node is gone"
                    self.assertIn(named, run.printed[rank])

    def test_a_rank_that_hangs_stops_the_others_within_their_patience(self) -> None:
        patience = [*options(self.folder, **FEW), "--timeout-s=3"]
        run = run_ranks(2, patience, signalled(1, signal.SIGSTOP))
        self.assertEqual(run.statuses[0], 1)
        self.assertLess(run.seconds, 15)
        self.assertIn("rank 1 of 2 was killed or does not answer", run.error)

    def test_the_error_of_one_rank_is_told_by_the_others(self) -> None:
        run = self.train(2, out_of_memory)
        self.assertEqual(run.statuses, [1, 1])
        self.assertIn("rank 1: MemoryError: no more of it", run.error)

    def test_a_loss_that_is_not_finite_has_its_own_status(self) -> None:
        run = self.train(2, learning_rate=1e30, gradient_clip=1e30)
        self.assertEqual(run.statuses, [3, 3])
        self.assertRegex(run.error, r"the loss is (nan|inf).* at step \d+")

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
            after_step(12, lambda: os.kill(os.getpid(), number))

    return prepare


def out_of_memory(rank: int) -> None:
    def fail() -> None:
        raise MemoryError("no more of it")

    if rank == 1:
        after_step(12, fail)


def own_folder(rank: int) -> None:
    if rank == 1:
        made = checkpoint.Checkpoints.__init__

        def elsewhere(self: Any, folder: Path, *values: Any) -> None:
            made(self, folder.with_name("of-my-own"), *values)

        checkpoint.Checkpoints.__init__ = elsewhere


if __name__ == "__main__":
    unittest.main()
