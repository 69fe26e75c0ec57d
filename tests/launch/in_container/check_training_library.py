"""Tests of containers/shared/training, for `python -m unittest` inside an image.

Standard library and torch only; test_training_library.py starts them and reports each.
"""
# ruff: noqa: PT009, PT027  # the image has no pytest

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from unittest import mock

import torch
from training import arguments, checkpoints, configuration, corpus, records, speed, start, text


class Corpus(unittest.TestCase):
    def test_python_brings_english_text(self) -> None:
        words = corpus.corpus()
        self.assertGreater(len(words), 400_000)
        self.assertGreater(words.count(b" the "), 3_000)
        self.assertEqual(words, corpus.corpus(), "the same each time")

    def test_a_folder_is_read_in_the_order_of_its_names(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in (("b", b"two"), ("a", b"one")):
                Path(folder, name).write_bytes(content)
            self.assertEqual(corpus.corpus(Path(folder)), b"onetwo")
            self.assertEqual(corpus.corpus(Path(folder, "b")), b"two")

    def test_missing_and_empty_data_are_wrong_input(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for path in (Path(folder), Path(folder, "none")):
                with self.assertRaises(records.Stop) as caught:
                    corpus.corpus(path)
                self.assertEqual(caught.exception.status, records.WRONG_INPUT)
                self.assertIn(folder, caught.exception.message)


def windows(samples: int, batch: int, seed: int = 1) -> text.Windows:
    """Windows of 4 tokens that can be told apart: of a text that counts."""
    return text.Windows(torch.arange(samples * 4 + 1), 4, seed, batch)


class WindowsOfText(unittest.TestCase):
    def test_a_target_is_the_next_token(self) -> None:
        inputs, targets = windows(100, 8).batch(3)
        self.assertEqual(tuple(inputs.shape), (8, 4))
        self.assertTrue(torch.equal(targets, inputs + 1))

    def test_each_window_is_seen_once_per_epoch_by_one_rank(self) -> None:
        for samples, batch, parts in product((20, 101), (1, 5), (1, 2, 3)):
            with self.subTest(samples=samples, batch=batch, parts=parts):
                all_of = windows(samples, batch)
                steps = all_of.steps_per_epoch
                for epoch in range(2):
                    seen = [
                        int(inputs[row, 0])
                        for step in range(epoch * steps, (epoch + 1) * steps)
                        for part in range(parts)
                        for inputs, _ in [all_of.batch(step, part, parts)]
                        for row in range(len(inputs))
                    ]
                    self.assertEqual(len(seen), len(set(seen)))
                    self.assertEqual(len(seen), steps * batch)

    def test_global_batches_do_not_depend_on_the_number_of_ranks(self) -> None:
        one = windows(101, 8)
        for step in range(30):
            whole = sorted(one.batch(step)[0][:, 0].tolist())
            for parts in (2, 4, 8):
                shared = [one.batch(step, part, parts)[0][:, 0] for part in range(parts)]
                self.assertEqual(sorted(torch.cat(shared).tolist()), whole)

    def test_epochs_and_seeds_differ_in_their_order(self) -> None:
        first, other = windows(101, 8, seed=1), windows(101, 8, seed=2)
        steps = first.steps_per_epoch
        orders = [[w.batch(s)[0][:, 0].tolist() for s in range(begin, begin + steps)]
                  for w, begin in ((first, 0), (first, steps), (other, 0))]  # fmt: skip
        self.assertEqual(len({str(order) for order in orders}), 3)

    def test_what_is_held_out_is_never_trained_on(self) -> None:
        for samples in (20, 101):
            all_of = windows(samples, 5)
            trained = {
                token
                for step in range(3 * all_of.steps_per_epoch)
                for token in all_of.batch(step)[1].flatten().tolist()
            }
            held_out = {t for _, targets in all_of.held_out(3) for t in targets.flatten().tolist()}
            self.assertEqual(len(held_out), 4 * (samples // 10))
            self.assertFalse(trained & held_out)

    def test_held_out_batches_cover_the_rest_and_can_be_cut(self) -> None:
        sizes = [len(inputs) for inputs, _ in windows(101, 5).held_out(3)]
        self.assertEqual(sizes, [3, 3, 3, 1])
        self.assertEqual(sum(len(i) for i, _ in windows(101, 5).held_out(3, most=4)), 4)

    def test_too_short_a_text_is_wrong_input(self) -> None:
        with self.assertRaises(records.Stop) as caught:
            windows(8, 9)
        self.assertIn("fewer than one global batch of 9", caught.exception.message)


class Records(unittest.TestCase):
    def test_rank_0_alone_speaks(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            records.Log(1)("step", 1, loss=2.0)
            records.Log(0)("step", 1, loss=2.0)
        self.assertEqual(json.loads(said.getvalue()), {"event": "step", "step": 1, "loss": 2.0})

    def ended(self, main: str, rank: str = "0") -> subprocess.CompletedProcess[str]:
        program = f"from training import records\ndef main():\n    {main}\nrecords.run(main)"
        return subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True, text=True, check=False, env={**os.environ, "RANK": rank},
        )  # fmt: skip

    def test_a_run_ends_with_the_status_of_what_stopped_it(self) -> None:
        self.assertEqual(self.ended("pass").returncode, 0)
        stopped = self.ended("raise records.Stop(3, 'it diverged')")
        self.assertEqual(stopped.returncode, 3)
        record = {"event": "error", "status": 3, "message": "it diverged"}
        self.assertEqual(json.loads(stopped.stdout), record)

    def test_another_rank_tells_too_but_leaves_rank_0_the_time_to_do_so(self) -> None:
        began = time.monotonic()
        stopped = self.ended("raise records.Stop(3, 'it diverged')", rank="1")
        self.assertGreater(time.monotonic() - began, records.FIRST_S)
        record = {"event": "error", "status": 3, "message": "it diverged", "rank": 1}
        self.assertEqual((stopped.returncode, json.loads(stopped.stdout)), (3, record))

    def test_a_defect_is_told_with_its_traceback(self) -> None:
        failed = self.ended("raise ValueError('unforeseen')")
        self.assertEqual(failed.returncode, 1)
        self.assertIn("ValueError: unforeseen", failed.stderr)
        self.assertIn("Traceback", failed.stderr)


class Speed(unittest.TestCase):
    def test_the_warm_up_does_not_count(self) -> None:
        clock = [0.0, 9.0, 18.0, 19.0, 20.0]
        with mock.patch.object(speed.time, "perf_counter", side_effect=clock):
            meter = speed.Meter(100, 1.0, 1, torch.device("cpu"))
            rates = [meter.step()["tokens_per_s"] for _ in range(4)]
        self.assertEqual(rates, [11.1, 11.1, 100.0, 100.0])
        self.assertEqual(meter.mean(), {"tokens_per_s": 100.0})

    def test_what_lies_between_steps_can_be_left_out(self) -> None:
        clock = [0.0, 1.0, 50.0, 51.0]
        with mock.patch.object(speed.time, "perf_counter", side_effect=clock):
            meter = speed.Meter(100, 1.0, 1, torch.device("cpu"), warm_up=0)
            meter.step()
            meter.restart()
            meter.step()
        self.assertEqual(meter.mean(), {"tokens_per_s": 100.0})

    def test_there_is_no_mean_of_nothing_and_no_mfu_without_a_data_sheet(self) -> None:
        meter = speed.Meter(100, 1.0, 1, torch.device("cpu"))
        self.assertEqual(set(meter.step()), {"tokens_per_s", "mem_gib"})
        self.assertEqual(meter.mean(), {})
        self.assertGreater(meter.memory_gib(), 0.05)

    def test_mfu_is_model_flops_over_what_all_devices_could_do(self) -> None:
        clock = [0.0, 2.0]
        with (
            mock.patch.object(speed.time, "perf_counter", side_effect=clock),
            mock.patch.object(speed, "peak_flops", return_value=1e12),
        ):
            meter = speed.Meter(1000, 1e9, 4, torch.device("cpu"), warm_up=0)
            self.assertEqual(meter.step()["mfu"], 0.125)

    def test_data_sheets_are_found_by_the_names_that_drivers_give(self) -> None:
        names = {
            "NVIDIA H100 80GB HBM3": 989.4e12,
            "NVIDIA A100-SXM4-80GB": 312e12,
            "NVIDIA H200": 989.4e12,
            "NVIDIA L4": 121e12,
            "Some GPU": None,
        }
        for name, peak in names.items():
            with mock.patch.object(torch.cuda, "get_device_name", return_value=name):
                self.assertEqual(speed.peak_flops(torch.device("cuda")), peak)


@dataclass(frozen=True, kw_only=True)
class Shape:
    layers: int
    heads: int | None


@dataclass(frozen=True, kw_only=True)
class Told:
    shape: Shape
    steps: int
    warmup: int
    rate: float
    betas: list[float]
    compiled: bool
    precision: str


VALUES = {"steps": 3, "warmup": 0, "rate": 1, "betas": [0.9, 0.95], "compiled": True}
VALUES |= {"precision": "fp32", "shape": Shape(layers=2, heads=None)}


class Configurations(unittest.TestCase):
    def made(self, **changes: object) -> Told:
        limits = {"may_be_zero": ("warmup",), "choices": {"precision": ("fp32", "bf16")}}
        return configuration.made(Told, {**VALUES, **changes}, Path("a.json"), **limits)

    def refused(self, said: str, act: Callable[[], object]) -> None:
        with self.assertRaises(records.Stop) as caught:
            act()
        self.assertEqual(caught.exception.status, records.WRONG_INPUT)
        self.assertIn(said, caught.exception.message)

    def test_a_whole_one_is_made(self) -> None:
        self.assertEqual(self.made(), Told(**VALUES))
        self.assertEqual(configuration.made(Shape, {"layers": 1, "heads": 2}, Path("a")).heads, 2)

    def test_each_mistake_is_told_with_its_place_and_remedy(self) -> None:
        for changes, said in (
            ({"stepz": 3}, "a.json: stepz: there is no such setting, did you mean steps?"),
            ({"steps": 0}, "a.json: steps is 0; it must be above 0"),
            ({"steps": -1}, "steps is -1; it must be above 0"),
            ({"warmup": -1}, "warmup is -1; it must be at least 0"),
            ({"rate": float("nan")}, "rate is nan; it must be above 0"),
            ({"rate": float("inf")}, "rate is inf; it must be above 0"),
            ({"steps": True}, "steps is True; it must be int"),
            ({"steps": 1.5}, "steps is 1.5; it must be int"),
            ({"rate": "1"}, "rate is '1'; it must be float"),
            ({"compiled": 1}, "compiled is 1; it must be bool"),
            ({"precision": "fp8"}, "precision is 'fp8'; it must be fp32 or bf16"),
            ({"betas": 0.9}, "betas is 0.9; it must be list"),
            ({"shape": {"layers": 2}}, "it must be Shape"),
        ):
            with self.subTest(said=said):
                self.refused(said, lambda changes=changes: self.made(**changes))
        missing = {key: value for key, value in VALUES.items() if key not in ("steps", "rate")}
        self.refused("a.json: missing: rate, steps", lambda: configuration.made(
            Told, missing, Path("a.json")))  # fmt: skip

    def test_what_is_no_object_is_no_configuration(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "a.json")
            for text in ("[1]", "{", '{"shape": 3}', "{}", "7"):
                path.write_text(text)
                self.refused(
                    "a.json is no configuration", lambda: configuration.read(path, "shape")
                )
            path.unlink()
            self.refused("a.json is no configuration", lambda: configuration.read(path))
            path.write_text('{"shape": {"layers": 1}, "steps": 2}')
            self.assertEqual(configuration.read(path, "shape")["shape"], {"layers": 1})

    def test_the_first_place_that_has_a_name_is_changed(self) -> None:
        shape, whole = {"layers": 1}, {"layers": 9, "steps": 2, "precision": "fp32"}
        changes = [("layers", "4"), ("steps", "5"), ("precision", "bf16")]
        configuration.change(changes, shape, whole)
        self.assertEqual(shape, {"layers": 4})
        self.assertEqual(whole, {"layers": 9, "steps": 5, "precision": "bf16"})
        self.refused("--set step: there is no such setting, did you mean steps?",
                     lambda: configuration.change([("step", "1")], shape, whole))  # fmt: skip

    def test_the_first_broken_rule_is_told(self) -> None:
        configuration.refuse_broken({"a": 0, "b": False}, Path("a.json"))
        self.refused("a.json: b", lambda: configuration.refuse_broken(
            {"a": 0, "b": 3, "c": True}, Path("a.json")))  # fmt: skip

    def test_betas_are_two_numbers_from_0_to_below_1(self) -> None:
        self.assertTrue(configuration.are_betas([0, 0.95]))
        for wrong in ([0.9], [0.9, 1], [-0.1, 0.9], [0.9, True], ["0.9", 0.9]):
            self.assertFalse(configuration.are_betas(wrong))


class CommandLine(unittest.TestCase):
    def test_it_takes_what_launchers_give(self) -> None:
        line = ["--configuration=a.json", "--checkpoints=/c", "--timeout-s=60", "--set", "steps=3"]
        found = arguments.parser(Path("default.json")).parse_args(line)
        wanted = (Path("a.json"), Path("/c"), 60.0, [("steps", "3")])
        self.assertEqual(
            (found.configuration, found.checkpoints, found.timeout_s, found.set), wanted
        )
        plain = arguments.parser(Path("default.json")).parse_args(["--checkpoints=/c"])
        self.assertEqual((plain.configuration, plain.set), (Path("default.json"), []))

    def test_a_mistyped_or_shortened_option_is_an_error(self) -> None:
        whole = arguments.parser(Path("default.json"))
        fixed = arguments.parser(Path("default.json"), changes=False)
        for parser, line in (
            (whole, ["--checkpoints=/c", "--set", "steps"]),
            (whole, ["--check=/c"]),
            (whole, []),
            (fixed, ["--checkpoints=/c", "--set", "steps=3"]),
        ):
            with (
                self.subTest(line=line),
                contextlib.redirect_stderr(io.StringIO()),
                self.assertRaises(SystemExit) as ended,
            ):
                parser.parse_args(line)
            self.assertEqual(ended.exception.code, 2)


class Checkpoints(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def make(self, step: int, keep: int = 9) -> Path:
        folder = checkpoints.folder_of(self.folder, step)
        folder.mkdir()
        checkpoints.write_file(folder / "rank-0", lambda file: file.write(b"weights"))
        checkpoints.complete(folder, {"step": step}, keep)
        return folder

    def test_the_newest_whole_one_is_found(self) -> None:
        self.assertIsNone(checkpoints.newest(self.folder))
        self.make(9)
        self.make(100)
        half = checkpoints.folder_of(self.folder, 200)
        half.mkdir()
        (half / "rank-0").write_bytes(b"wei")
        found = checkpoints.newest(self.folder)
        self.assertEqual(found, (self.folder / "step-00000100", {"step": 100}))
        checkpoints.discard_partial(self.folder)
        self.assertFalse(half.exists())
        self.assertEqual(checkpoints.newest(self.folder), found)

    def test_a_damaged_marker_gives_way_to_the_one_before(self) -> None:
        self.make(1)
        (self.make(2) / checkpoints.MARKER).write_text("{")
        found = checkpoints.newest(self.folder)
        self.assertIsNotNone(found)
        self.assertEqual(found[1], {"step": 1})

    def test_the_newest_few_are_kept(self) -> None:
        for step in (1, 2, 3, 4):
            self.make(step, keep=2)
        names = [folder.name for folder in sorted(self.folder.iterdir())]
        self.assertEqual(names, ["step-00000003", "step-00000004"])

    def test_a_file_that_cannot_be_written_leaves_nothing(self) -> None:
        def full(file: io.BufferedWriter) -> None:
            file.write(b"half")
            raise OSError(28, "No space left on device")

        with self.assertRaises(OSError):
            checkpoints.write_file(self.folder / "rank-0", full)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_failed_write_leaves_the_file_that_was_there(self) -> None:
        def interrupted(_file: io.BufferedWriter) -> None:
            raise KeyboardInterrupt

        (self.folder / "rank-0").write_bytes(b"old")
        with self.assertRaises(KeyboardInterrupt):
            checkpoints.write_file(self.folder / "rank-0", interrupted)
        self.assertEqual((self.folder / "rank-0").read_bytes(), b"old")

    def test_another_model_is_refused_with_what_differs(self) -> None:
        then, now = {"layers": 2, "steps": 10}, {"layers": 4, "steps": 20, "bias": True}
        with self.assertRaises(records.Stop) as caught:
            checkpoints.demand_same(then, now, self.folder, may_differ=("steps",))
        self.assertEqual(caught.exception.status, records.WRONG_INPUT)
        self.assertIn("bias was None, is True; layers was 2, is 4", caught.exception.message)
        self.assertNotIn("steps", caught.exception.message)
        checkpoints.demand_same(then, {**then, "steps": 20}, self.folder, may_differ=("steps",))

    def test_a_frameworks_checkpoints_are_held_against_the_note_of_their_training(self) -> None:
        folder, two, four = self.folder / "new", {"layers": 2}, {"layers": 4}
        checkpoints.demand_same_training(folder, four, 1, there=False)
        self.assertFalse(folder.exists(), "only rank 0 writes")
        for now in (four, two):  # the first one ended before its first checkpoint
            checkpoints.demand_same_training(folder, now, 0, there=False)
        checkpoints.demand_same_training(folder, two, 1, there=True)
        note = folder / checkpoints.NOTE
        for spoil, told in (
            (note.exists, "layers was 2, is 4"),
            (lambda: note.write_text("{"), "cannot be used"),
            (note.unlink, "has a checkpoint, but no configuration.json"),
        ):
            spoil()
            with self.assertRaises(records.Stop) as caught:
                checkpoints.demand_same_training(folder, four, 0, there=True)
            self.assertEqual(caught.exception.status, records.WRONG_INPUT)
            self.assertIn(told, caught.exception.message)


class Starter(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def started(self, program: str, *options: str) -> subprocess.CompletedProcess[str]:
        path = self.folder / "program.py"
        path.write_text("import os, sys, time, signal\nrank = os.environ['RANK']\n" + program)
        return subprocess.run(
            [sys.executable, "-m", "training.start", "--nproc-per-node", "2", *options, path, "x"],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def test_each_rank_knows_its_place(self) -> None:
        options = argparse.Namespace(
            nnodes=3, node_rank=2, nproc_per_node=4, master_addr="node0", master_port=29400
        )
        found = start.environment_of(options, 1)
        wanted = {"RANK": "9", "LOCAL_RANK": "1", "WORLD_SIZE": "12", "LOCAL_WORLD_SIZE": "4",
                  "MASTER_ADDR": "node0", "MASTER_PORT": "29400"}  # fmt: skip
        self.assertEqual({key: found[key] for key in wanted}, wanted)

    def test_all_ranks_get_the_arguments_and_end_well(self) -> None:
        done = self.started("sys.stdout.write(f'{rank}{sys.argv[1]}\\n')")
        self.assertEqual((done.returncode, sorted(done.stdout.split())), (0, ["0x", "1x"]))

    def test_a_rank_that_fails_ends_the_others_and_gives_its_status(self) -> None:
        began = time.monotonic()
        done = self.started("time.sleep(60) if rank == '0' else sys.exit(7)")
        self.assertEqual(done.returncode, 7)
        self.assertLess(time.monotonic() - began, 20)
        self.assertIn("local rank 1 ended with status 7", done.stderr)

    def test_a_killed_rank_is_told_by_its_signal(self) -> None:
        kill = "time.sleep(60) if rank == '1' else os.kill(os.getpid(), signal.SIGKILL)"
        done = self.started(kill)
        self.assertEqual(done.returncode, 128 + 9)
        self.assertIn("local rank 0 ended with signal 9", done.stderr)
