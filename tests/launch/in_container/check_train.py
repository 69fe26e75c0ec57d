"""Tests of train.py's parts, for `python -m unittest check_train` inside the image.

Standard library and torch only; test_training_program.py starts them and reports each.
"""
# ruff: noqa: PT009, PT027  # the image has no pytest

import contextlib
import io
import json
import os
import resource
import signal
import tempfile
import unittest
from dataclasses import replace
from itertools import product
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
import train

SMALL = train.Configuration(
    channels=[],
    hidden=8,
    dropout=0.5,
    seed=3,
    steps=12,
    global_batch_size=500,
    learning_rate=0.01,
    weight_decay=0.01,
    log_every=1,
    checkpoint_every=1,
    keep_checkpoints=20,
)


def shards(sampler: train.EpochSampler, ranks: int, batches: int) -> list[list[list[int]]]:
    """The next batches, each as one list of sample numbers per rank."""
    dealt = []
    for _ in range(batches):
        position = sampler.state_dict()
        batch = []
        for rank in range(ranks):
            sampler.load_state_dict(position)
            batch.append(sampler.next_batch(rank, ranks)[0].tolist())
        dealt.append(batch)
    return dealt


class Sampler(unittest.TestCase):
    def test_each_epoch_deals_every_sample_exactly_once_to_one_rank(self) -> None:
        for samples, batch, ranks in product((1, 7, 64, 101), (1, 5, 32, 200), (1, 2, 3, 8)):
            with self.subTest(samples=samples, batch=batch, ranks=ranks):
                sampler = train.EpochSampler(samples, batch, seed=1)
                for epoch in range(3):
                    self.assertEqual(sampler.epoch, epoch)
                    dealt = shards(sampler, ranks, -(-samples // batch))
                    flat = [number for parts in dealt for part in parts for number in part]
                    self.assertEqual(sorted(flat), list(range(samples)))

    def test_ranks_get_equal_shares_give_or_take_one(self) -> None:
        for parts in shards(train.EpochSampler(101, 32, seed=1), ranks=3, batches=4):
            sizes = [len(part) for part in parts]
            self.assertLessEqual(max(sizes) - min(sizes), 1)

    def test_global_batches_do_not_depend_on_the_number_of_ranks(self) -> None:
        def batches(ranks: int) -> list[list[int]]:
            dealt = shards(train.EpochSampler(101, 32, seed=1), ranks, batches=9)
            return [sorted(number for part in parts for number in part) for parts in dealt]

        self.assertEqual(batches(1), batches(4))

    def test_epochs_and_seeds_differ_in_their_order(self) -> None:
        first = train.EpochSampler(64, 64, seed=1)
        orders = [first.next_batch(0, 1)[0].tolist() for _ in range(3)]
        orders.append(train.EpochSampler(64, 64, seed=2).next_batch(0, 1)[0].tolist())
        self.assertEqual(len({tuple(order) for order in orders}), 4)

    def test_a_loaded_position_continues_with_the_batches_that_would_have_come(self) -> None:
        for done in range(9):
            unbroken = train.EpochSampler(101, 32, seed=1)
            shards(unbroken, 2, done)
            resumed = train.EpochSampler(101, 32, seed=1)
            resumed.load_state_dict(json.loads(json.dumps(unbroken.state_dict())))
            self.assertEqual(shards(resumed, 2, 6), shards(unbroken, 2, 6))


class Data(unittest.TestCase):
    def test_a_fifth_of_each_class_is_held_out(self) -> None:
        images, labels, test_images, test_labels = train.load_digits()
        self.assertEqual((len(images), len(test_images)), (1433, 364))
        self.assertEqual((len(labels), len(test_labels)), (1433, 364))
        all_of, held_out = torch.cat([labels, test_labels]).bincount(), test_labels.bincount()
        self.assertEqual(held_out.tolist(), [-(-int(count) // 5) for count in all_of])

    def test_no_held_out_image_is_trained_on(self) -> None:
        images, _, test_images, _ = train.load_digits()
        trained = {image.numpy().tobytes() for image in images}
        self.assertFalse(trained & {image.numpy().tobytes() for image in test_images})


class Checkpoints(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def save(self, *steps: int, keep: int = 9) -> None:
        for step in steps:
            state = {"step": step, "weights": torch.full((1000,), float(step))}
            train.save_checkpoint(state, self.folder, keep)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def test_only_the_newest_are_kept(self) -> None:
        self.save(1, 2, 10, 20, keep=2)
        self.assertEqual(self.names(), ["step-00000010.pt", "step-00000020.pt"])

    def test_the_newest_is_loaded(self) -> None:
        self.save(9, 10)
        self.assertEqual(train.load_checkpoint(self.folder)["step"], 10)

    def test_an_empty_folder_is_a_fresh_start(self) -> None:
        self.assertIsNone(train.load_checkpoint(self.folder))

    def test_a_crash_in_mid_write_leaves_the_one_before(self) -> None:
        self.save(1)
        error = OSError(28, "No space left on device")
        with mock.patch.object(os, "fsync", side_effect=error), self.assertRaises(train.Stop) as e:
            self.save(2)
        self.assertEqual(train.load_checkpoint(self.folder)["step"], 1)
        self.assertEqual(self.names(), ["step-00000001.pt"])
        self.assertIn("No space left on device", str(e.exception))
        self.assertIn("step-00000001.pt before it is whole", str(e.exception))

    def test_a_full_disk_leaves_the_one_before_and_says_so(self) -> None:
        self.save(1)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        try:
            with self.assertRaises(train.Stop) as caught:
                self.save(2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, ignored)
        self.assertEqual(caught.exception.args[0], 1)
        self.assertIn("step-00000002.pt cannot be written", caught.exception.args[1])
        self.assertEqual(self.names(), ["step-00000001.pt"])

    def test_the_file_gets_its_name_only_after_it_is_on_the_disk(self) -> None:
        seen: list[list[str]] = []
        real = os.fsync

        def spy(descriptor: int) -> None:
            seen.append(self.names())
            real(descriptor)

        with mock.patch.object(os, "fsync", spy):
            self.save(1)
        self.assertEqual(seen, [["step-00000001.tmp"], ["step-00000001.pt"]])

    def test_damaged_ones_are_set_aside_for_the_one_before(self) -> None:
        self.save(1, 2, 3, 4)
        whole = (self.folder / "step-00000002.pt").read_bytes()
        (self.folder / "step-00000002.pt").write_bytes(whole[: len(whole) // 2])
        (self.folder / "step-00000003.pt").write_bytes(b"")
        (self.folder / "step-00000004.pt").write_bytes(b"no checkpoint")
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(train.load_checkpoint(self.folder)["step"], 1)
        self.assertIn("step-00000004.pt is damaged", said.getvalue())
        self.save(5, keep=2)
        self.assertIn("step-00000001.pt", self.names())

    def test_nothing_but_damaged_ones_is_an_error_and_no_fresh_start(self) -> None:
        (self.folder / "step-00000004.pt").write_bytes(b"no checkpoint")
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(train.Stop) as caught:
            train.load_checkpoint(self.folder)
        self.assertEqual(caught.exception.args[0], 2)


class Configurations(unittest.TestCase):
    def load(self, **changes: object) -> train.Configuration:
        values = {**vars(SMALL), **changes}
        values = {key: value for key, value in values.items() if value is not None}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            return train.Configuration.load(Path(file.name))

    def refused(self, **changes: object) -> str:
        with self.assertRaises(train.Stop) as caught:
            self.load(**changes)
        status, message = caught.exception.args
        self.assertEqual(status, 2)
        return str(message)

    def test_the_shipped_ones_load(self) -> None:
        paths = sorted((Path(train.__file__).parent / "configurations").glob("*.json"))
        self.assertEqual([path.stem for path in paths], ["digits-cnn", "digits-mlp"])
        for path in paths:
            train.Configuration.load(path)

    def test_a_number_out_of_range_is_named_with_its_limits(self) -> None:
        self.assertIn("steps is 0; it must be from 1", self.refused(steps=0))
        self.assertIn("dropout is 1.5; it must be from 0 to 0.99", self.refused(dropout=1.5))

    def test_wrong_types_and_keys_are_named(self) -> None:
        self.assertIn("hidden is '8'; it must be int", self.refused(hidden="8"))
        self.assertIn("steps is True; it must be int", self.refused(steps=True))
        self.assertIn("missing or unknown keys: stepz", self.refused(stepz=1))
        self.assertIn("missing or unknown keys: seed", self.refused(seed=None))

    def test_a_file_that_is_missing_or_no_json_is_named(self) -> None:
        for content in (None, "{", "[1]"):
            with tempfile.TemporaryDirectory() as folder, self.assertRaises(train.Stop) as caught:
                path = Path(folder) / "x.json"
                if content is not None:
                    path.write_text(content)
                train.Configuration.load(path)
            self.assertIn("x.json", caught.exception.args[1])


class Resume(unittest.TestCase):
    """One rank in this process; two nodes are the business of test_run.py."""

    @classmethod
    def setUpClass(cls) -> None:
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        cls.addClassCleanup(dist.destroy_process_group)

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def train(self, configuration: train.Configuration = SMALL) -> list[dict]:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            train.Trainer(configuration, self.folder).run()
        return [json.loads(line) for line in printed.getvalue().splitlines()]

    def drop_after(self, step: int) -> None:
        for path in self.folder.glob("step-*.pt"):
            if path.name > f"step-{step:08d}.pt":
                path.unlink()

    def test_from_every_step_it_goes_on_with_the_very_numbers_of_an_unbroken_run(self) -> None:
        unbroken = self.train()
        losses = {r["step"]: r["loss"] for r in unbroken if r["event"] == "step"}
        self.assertEqual(sorted(losses), list(range(1, 13)))
        for step in range(11, 0, -1):
            self.drop_after(step)
            resumed = self.train()
            self.assertEqual(next(r["step"] for r in resumed if r["event"] == "resume"), step)
            again = {r["step"]: r["loss"] for r in resumed if r["event"] == "step"}
            self.assertEqual(again, {s: losses[s] for s in range(step + 1, 13)})
            self.assertEqual(resumed[-1]["parameters_sha256"], unbroken[-1]["parameters_sha256"])

    def test_a_finished_training_only_evaluates(self) -> None:
        first = self.train()
        second = self.train()
        self.assertEqual([r["event"] for r in second], ["start", "resume", "final"])
        self.assertEqual(second[-1]["accuracy"], first[-1]["accuracy"])

    def test_a_checkpoint_of_another_configuration_is_refused_with_both_values(self) -> None:
        self.train()
        with self.assertRaises(train.Stop) as caught:
            self.train(replace(SMALL, seed=4))
        self.assertIn("'seed': (3, 4)", caught.exception.args[1])

    def test_a_loss_that_is_not_finite_stops_with_status_3(self) -> None:
        with self.assertRaises(train.Stop) as caught:
            self.train(replace(SMALL, learning_rate=1e30, checkpoint_every=99))
        self.assertEqual(caught.exception.args[0], 3)
        self.assertRegex(caught.exception.args[1], r"the loss is (nan|inf) at step \d+")

    def test_the_random_state_is_part_of_the_resume(self) -> None:
        unbroken = self.train()
        self.drop_after(6)
        with mock.patch.object(torch, "set_rng_state"):
            resumed = self.train()
        self.assertNotEqual(resumed[-1]["parameters_sha256"], unbroken[-1]["parameters_sha256"])


if __name__ == "__main__":
    unittest.main()
