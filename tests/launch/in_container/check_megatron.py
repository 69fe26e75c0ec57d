"""Tests of the megatron-lm test case, for `python -m unittest check_megatron` inside its image.

Standard library, torch and Megatron only; test_megatron_program.py starts them and reports each.
"""
# ruff: noqa: PT009, PT027  # the image has no pytest

import json
import subprocess
import sys
import tempfile
import unittest
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import configuration
import torch
import train
from training.records import Stop

HERE = Path(train.__file__).parent
FOLDER = HERE / "configurations"
PUBLISHED = {
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "llama3-8b": 8_030_261_248,
}
# Table 1 of arXiv 2104.04473, in billions: parameters, layers, hidden, heads.
TABLE = {
    "gpt3-1-7b": (1.7, 24, 2304, 24),
    "gpt3-3-6b": (3.6, 30, 3072, 32),
    "gpt3-7-5b": (7.5, 36, 4096, 32),
    "gpt3-18-4b": (18.4, 40, 6144, 48),
    "gpt3-39-1b": (39.1, 48, 8192, 64),
    "gpt3-76-1b": (76.1, 60, 10240, 80),
    "gpt3-145-6b": (145.6, 80, 12288, 96),
    "gpt3-310-1b": (310.1, 96, 16384, 128),
}
# Processes of the p5.48xlarge nodes that case.yml means each for, of 80 GB.
PROCESSES = dict.fromkeys(PUBLISHED, 32) | {"llama2-70b": 64}
PROCESSES |= {"gpt3-1-7b": 8, "gpt3-3-6b": 8, "gpt3-7-5b": 16, "gpt3-18-4b": 16}
PROCESSES |= {"gpt3-39-1b": 32, "gpt3-76-1b": 64, "gpt3-145-6b": 128, "gpt3-310-1b": 256}
ROOM_GB = 60  # of those 80, the rest is for activations
WHOLE = {"tensor": 1, "pipeline": 1, "sequence_parallel": False}


def loaded(name: str = "tiny", **changes: Any) -> configuration.Configuration:
    texts = {key: json.dumps(value) for key, value in changes.items()}
    return configuration.load(FOLDER / f"{name}.json", texts)


def refused(**changes: Any) -> str:
    """Why some changes of the tiny configuration are an error."""
    try:
        loaded(**changes)
    except Stop as stop:
        return f"status {stop.status}: {stop.message}"
    raise AssertionError(f"{changes} was accepted")


def run(folder: Path, processes: int, **changes: Any) -> list[dict[str, Any]]:
    """Records of a training of the tiny configuration, which must end well."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", str(HERE / "train.py")]
    command += ["--checkpoints", str(folder)]
    for name, value in changes.items():
        command += ["--set", f"{name}={json.dumps(value)}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise AssertionError(done.stdout[-2000:] + done.stderr[-4000:])
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event"')]


def losses(records: list[dict[str, Any]]) -> dict[int, float]:
    return {one["step"]: one["loss"] for one in records if one["event"] == "step"}


@cache
def short(processes: int, *, tensor: int, pipeline: int) -> dict[int, float]:
    """Losses of six steps with a split."""
    with tempfile.TemporaryDirectory() as folder:
        split = {"tensor": tensor, "pipeline": pipeline, "sequence_parallel": tensor > 1}
        return losses(run(Path(folder), processes, steps=6, warmup_steps=2, **split))


class Configurations(unittest.TestCase):
    def test_gpt3_shapes_have_the_published_number_of_parameters(self) -> None:
        for name, (billions, layers, hidden, heads) in TABLE.items():
            with self.subTest(name):
                config = loaded(name)
                shape = config.architecture
                self.assertEqual((shape.layers, shape.hidden, shape.heads), (layers, hidden, heads))
                counted = shape.parameters(config.sequence_length) / 1e9
                self.assertAlmostEqual(counted, billions, delta=0.06)

    def test_llama_shapes_have_the_published_number_of_parameters(self) -> None:
        for name, count in PUBLISHED.items():
            with self.subTest(name):
                config = loaded(name)
                self.assertEqual(config.architecture.parameters(config.sequence_length), count)

    def test_the_state_of_each_fits_its_gpus_and_its_batch_their_number(self) -> None:
        for name, processes in PROCESSES.items():
            with self.subTest(name):
                config = loaded(name)
                copies = config.data_parallel(processes)
                count = config.architecture.parameters(config.sequence_length)
                # bf16 weights, fp32 gradients; fp32 weights and two moments over the copies.
                gigabytes = count * (2 + 4 + 12 / copies) / (config.tensor * config.pipeline) / 1e9
                self.assertLess(gigabytes, ROOM_GB)
                self.assertLessEqual(config.tensor, 8, "tensor parallelism stays inside a node")

    def test_what_cannot_be_is_refused_with_its_reason(self) -> None:
        wrong = [
            ({"tensor": 3}, "tensor 3 must divide heads 4"),
            ({"pipeline": 3}, "pipeline 3 must divide layers 2"),
            ({"tensor": 1}, "sequence_parallel needs tensor above 1"),
            ({"context": 2}, "needs layers_from transformer_engine"),
            ({"betas": [0.9]}, "betas"),
            ({"precision": "fp16"}, "fp32 or bf16"),
            ({"steps": 0}, "steps is 0"),
            ({"tensor": True}, "tensor is True"),
            ({"no_such": 1}, "there is no such setting"),
        ]
        for changes, said in wrong:
            with self.subTest(changes):
                self.assertIn(said, refused(**changes))
                self.assertIn("status 2", refused(**changes))

    def test_processes_that_a_split_cannot_use_are_refused(self) -> None:
        self.assertEqual(loaded().data_parallel(8), 4)
        for processes, said in ((3, "cannot hold copies"), (1, "cannot hold"), (16, "no multiple")):
            with self.subTest(processes), self.assertRaises(Stop) as caught:
                loaded().data_parallel(processes)
            self.assertIn(said, caught.exception.message)


class Shim(unittest.TestCase):
    def test_where_there_is_a_gpu_it_refuses(self) -> None:
        with (
            mock.patch.object(torch.cuda, "is_available", return_value=True),
            self.assertRaises(RuntimeError),
        ):
            train.cpu_shim.install()

    def test_what_is_made_on_a_gpu_is_made_on_the_cpu(self) -> None:
        made = torch.zeros(2, device="cuda")
        self.assertEqual(made.device.type, "cpu")
        self.assertIs(made.cuda(), made)
        self.assertEqual(made.type(), "torch.cuda.FloatTensor")
        self.assertEqual(made.type(torch.int64).dtype, torch.int64)


class Runs(unittest.TestCase):
    """Two processes at most, over gloo."""

    def test_a_split_by_tensors_changes_no_loss(self) -> None:
        self._same(short(2, tensor=2, pipeline=1))

    def test_a_split_by_stages_changes_no_loss(self) -> None:
        self._same(short(2, tensor=1, pipeline=2))

    def test_two_copies_change_no_loss(self) -> None:
        self._same(short(2, tensor=1, pipeline=1))

    def _same(self, found: dict[int, float]) -> None:
        one = short(1, tensor=1, pipeline=1)
        self.assertEqual(len(found), 6)
        for step, loss in one.items():
            self.assertAlmostEqual(found[step], loss, delta=1e-4)
        self.assertLess(one[6], one[1] - 0.5)

    def test_a_resumed_run_repeats_the_unbroken_one_and_another_split_goes_on(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            whole = {"steps": 6, "warmup_steps": 2, "checkpoint_every": 3}
            unbroken = run(folder, 2, **whole)
            after = folder / "step-00000006"
            after.rename(folder / "gone")
            resumed = run(folder, 2, **whole)
            self.assertEqual([r["step"] for r in resumed if r["event"] == "resume"], [3])
            late = {step: loss for step, loss in losses(unbroken).items() if step > 3}
            self.assertEqual(losses(resumed), late)
            digest = [r["parameters_sha256"] for r in (unbroken[-1], resumed[-1])]
            self.assertEqual(digest[0], digest[1])
            after.rename(folder / "again")
            staged = run(folder, 2, **{**whole, **WHOLE, "pipeline": 2})
            for step, loss in late.items():
                self.assertAlmostEqual(losses(staged)[step], loss, delta=1e-4)

    def test_a_checkpoint_of_another_model_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            run(Path(place), 1, **WHOLE, steps=2, warmup_steps=1)
            with self.assertRaises(AssertionError) as caught:
                run(Path(place), 1, **WHOLE, steps=2, warmup_steps=1, ffn=128)
            self.assertIn("ffn was 256, is 128", str(caught.exception))
