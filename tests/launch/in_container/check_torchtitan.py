"""Tests of the torchtitan test case, for `python -m unittest check_torchtitan` inside its image.

Standard library, torch and torchtitan only; test_torchtitan_program.py starts them.
"""
# ruff: noqa: PT009, PT027  # the image has no pytest

import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import train
from torchtitan.models.llama3 import Transformer, llama3_args
from training.records import Stop

HERE = Path(train.__file__).parent
FOLDER = HERE / "configurations"
PUBLISHED = {
    "8B": 8_030_261_248,
    "70B": 70_553_706_496,
    "405B": 405_853_388_800,
}
STEPS = 6


def write(folder: Path, *changes: tuple[str, str]) -> Path:
    """Copy the tiny job file with some of its text changed, and few steps."""
    text = (FOLDER / "tiny.toml").read_text()
    few = [("steps = 60", f"steps = {STEPS}"), ("interval = 20", "interval = 3")]
    for old, new in [*few, *changes]:
        if old not in text:
            raise AssertionError(f"{old} is not in tiny.toml")
        text = text.replace(old, new)
    path = folder / "job.toml"
    path.write_text(text)
    return path


def run(folder: Path, processes: int, *changes: tuple[str, str]) -> list[dict[str, Any]]:
    """Records of a training, which must end well."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", str(HERE / "train.py")]
    command += ["--checkpoints", str(folder / "run")]
    command += ["--configuration", str(write(folder, *changes))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise AssertionError(done.stdout[-2000:] + done.stderr[-4000:])
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event"')]


def losses(records: list[dict[str, Any]]) -> dict[int, float]:
    return {one["step"]: one["loss"] for one in records if one["event"] == "step"}


@cache
def short(processes: int, tensor: int) -> dict[int, float]:
    """Losses of some steps with a split."""
    with tempfile.TemporaryDirectory() as folder:
        change = ("tensor_parallel_degree = 1", f"tensor_parallel_degree = {tensor}")
        return losses(run(Path(folder), processes, change))


class Configurations(unittest.TestCase):
    def test_all_are_job_files_of_torchtitan(self) -> None:
        for path in sorted(FOLDER.glob("*.toml")):
            with self.subTest(path.stem):
                job = train.load(path, Path("/tmp/none"), 7.0)
                self.assertIn(job.model.flavor, llama3_args)
                self.assertEqual(job.comm.train_timeout_seconds, 7)
                self.assertEqual(job.job.dump_folder, "/tmp/none")

    def test_models_have_the_published_number_of_weights(self) -> None:
        for flavor, count in PUBLISHED.items():
            with self.subTest(flavor):
                arguments = replace(llama3_args[flavor], vocab_size=128256)
                with torch.device("meta"):
                    model = Transformer(arguments)
                self.assertEqual(sum(value.numel() for value in model.parameters()), count)

    def test_what_cannot_be_is_refused_with_its_reason(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            stages = ("tensor_parallel_degree = 1", "pipeline_parallel_degree = 2")
            for change, said in ((stages, "pipeline"), (("seq_len", "no_such_key"), "no_such_key")):
                with self.subTest(said), self.assertRaises(Stop) as caught:
                    train.load(write(Path(place), change), Path(place), 60)
                self.assertEqual(caught.exception.status, 2)
                self.assertIn(said, caught.exception.message)

    def test_where_there_is_a_gpu_the_shim_refuses(self) -> None:
        with (
            mock.patch.object(torch.cuda, "is_available", return_value=True),
            self.assertRaises(RuntimeError),
        ):
            train.cpu_shim.install()


class Runs(unittest.TestCase):
    """Two processes at most, over gloo."""

    def test_it_learns(self) -> None:
        found = short(2, 1)
        self.assertEqual(len(found), STEPS)
        self.assertLess(found[STEPS], found[1] - 2)

    def test_a_resumed_run_repeats_the_unbroken_one(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            unbroken = run(Path(place), 2)
            shutil.rmtree(Path(place, f"run/checkpoint/step-{STEPS}"))
            resumed = run(Path(place), 2)
            self.assertEqual([r["step"] for r in resumed if r["event"] == "resume"], [3])
            late = {step: loss for step, loss in losses(unbroken).items() if step > 3}
            self.assertEqual(losses(resumed), late)
            self.assertEqual(resumed[-1]["loss"], unbroken[-1]["loss"])

    def test_a_checkpoint_of_another_training_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            run(Path(place), 1)
            with self.assertRaises(AssertionError) as caught:
                run(Path(place), 1, ("seq_len = 64", "seq_len = 32"))
            self.assertIn("seq_len was 64, is 32", str(caught.exception))
