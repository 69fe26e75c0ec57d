"""Trainings of the fsdp test case, for `python -m unittest check_fsdp_runs` inside the image.

Standard library and torch only; test_fsdp_program.py starts them and reports each.
"""
# ruff: noqa: PT009  # the image has no pytest

import os
import shutil
import unittest
from typing import Any

import configuration
import train
from fsdp_ranks import BOUND, TOLERANCE, Ended, Runs, names, steps, unbroken, whole


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
        run = self.from_step(4, 2)
        self.assert_done(run)
        self.assertEqual([(r["step"], r["ranks"]) for r in run.of("resume")], [(4, 2)])
        self.assertEqual(run.losses, {s: x for s, x in expected.losses.items() if s > 4})
        keys = ("loss", "parameters_sha256")
        last, wanted = (one.of("final")[0] for one in (run, expected))
        self.assertEqual([last[k] for k in keys], [wanted[k] for k in keys])

    def test_other_numbers_of_ranks_go_on_with_the_same_losses(self) -> None:
        expected = {s: x for s, x in unbroken()[0].losses.items() if s > 4}
        for ranks in (1, 4):
            run = self.from_step(4, ranks, sharding="hybrid", shard_ranks=1)
            self.assert_done(run)
            self.assert_close(run.losses, expected)

    def test_a_finished_training_only_validates(self) -> None:
        run = self.from_step(12, 2)
        self.assertEqual([r["event"] for r in run.records], ["start", "resume", "final"])
        self.assertEqual(run.of("final")[0]["loss"], unbroken()[0].of("final")[0]["loss"])

    def test_a_checkpoint_of_another_model_is_refused(self) -> None:
        run = self.from_step(12, 2, layers=3, seed=7)
        self.assertEqual(run.statuses, [2, 2])
        self.assertIn("layers was 2, is 3; seed was 12345, is 7", run.error)
        self.assertEqual(names(self.folder), steps(4, 8, 12), "and it is still there")

    def test_a_damaged_checkpoint_is_named(self) -> None:
        def damage(rank: int) -> None:
            if rank == 1:
                (self.folder / steps(12)[0] / "__1_0.distcp").write_bytes(b"no checkpoint")

        shutil.copytree(unbroken()[1].name, self.folder)
        run = self.train(2, damage)
        self.assertEqual(run.statuses, [2, 2])
        self.assertIn("step-00000012 is damaged: rank ", run.error)

    def test_the_newest_are_kept_and_what_a_kill_left_is_removed(self) -> None:
        half = self.folder / steps(3)[0]
        half.mkdir(parents=True)
        (half / "__0_0.distcp").write_bytes(b"half")
        self.assert_done(self.train(2, keep_checkpoints=2))
        self.assertEqual(names(self.folder), steps(8, 12))


if __name__ == "__main__":
    unittest.main()
