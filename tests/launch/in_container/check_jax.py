"""Trainings of the jax test case, for `python -m unittest check_jax` inside the image."""
# ruff: noqa: PT009  # the image has no pytest

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from functools import cache
from pathlib import Path
from typing import Any

PLACE = Path("/opt/jax")
FEW = {"steps": 12, "warmup_steps": 2, "checkpoint_every": 4, "validation_windows": 32}
TOLERANCE = 1e-3


def command_of(folder: Path, ranks: int, timeout_s: int = 30, **changes: Any) -> list[str]:
    """A training with few steps, and changes of its configuration."""
    command = [sys.executable, "-m", "training.start", f"--nproc-per-node={ranks}", "train.py"]
    command += [f"--checkpoints={folder}", f"--timeout-s={timeout_s}"]
    return command + [f"--set={name}={value}" for name, value in {**FEW, **changes}.items()]


def train(folder: Path, ranks: int, **changes: Any) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and records of a training."""
    done = subprocess.run(
        command_of(folder, ranks, **changes),
        check=False,
        cwd=PLACE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=200,
    )
    lines = done.stdout.splitlines()
    return done.returncode, [json.loads(line) for line in lines if line.startswith('{"event"')]


def losses(records: list[dict[str, Any]]) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in records if record["event"] == "step"}


@cache
def unbroken() -> tuple[Path, list[dict[str, Any]]]:
    """A training by a mesh of 1 x 2, and its folder."""
    folder = Path(tempfile.mkdtemp())
    status, records = train(folder, 2)
    assert status == 0
    return folder, records


class Training(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "checkpoints"

    def assert_close(self, found: dict[int, float], expected: dict[int, float]) -> None:
        self.assertEqual(found.keys(), expected.keys())
        for step, loss in expected.items():
            self.assertAlmostEqual(found[step] / loss, 1, delta=TOLERANCE, msg=f"step {step}")

    def test_other_meshes_have_the_same_losses(self) -> None:
        expected = losses(unbroken()[1])
        self.assertLess(expected[12], expected[1] - 1.5)
        for ranks, tensor in ((1, 1), (2, 1), (4, 2)):
            shutil.rmtree(self.folder, ignore_errors=True)
            status, records = train(self.folder, ranks, tensor=tensor)
            self.assertEqual(status, 0)
            self.assertEqual(records[0]["mesh"], {"data": ranks // tensor, "tensor": tensor})
            self.assert_close(losses(records), expected)

    def after_step_8(self) -> dict[int, float]:
        folder, records = unbroken()
        shutil.copytree(folder, self.folder)
        shutil.rmtree(self.folder / "step-00000012")
        return {step: loss for step, loss in losses(records).items() if step > 8}

    def test_a_resume_repeats_an_unbroken_training_to_the_last_bit(self) -> None:
        expected = self.after_step_8()
        status, records = train(self.folder, 2)
        self.assertEqual((status, records[1]["event"], records[1]["step"]), (0, "resume", 8))
        self.assertEqual(losses(records), expected)
        digest = unbroken()[1][-1]["parameters_sha256"]
        self.assertEqual(records[-1]["parameters_sha256"], digest)

    def test_another_mesh_goes_on_with_a_checkpoint(self) -> None:
        expected = self.after_step_8()
        status, records = train(self.folder, 1, tensor=1)
        self.assertEqual(status, 0)
        self.assert_close(losses(records), expected)

    def test_a_checkpoint_of_another_model_is_refused(self) -> None:
        shutil.copytree(unbroken()[0], self.folder)
        status, records = train(self.folder, 2, width=32)
        self.assertEqual(status, 2)
        self.assertIn("width was 64, is 32", records[-1]["message"])

    def test_a_damaged_checkpoint_is_named(self) -> None:
        shutil.copytree(unbroken()[0], self.folder)
        (self.folder / "step-00000012/process-00001.npz").write_bytes(b"no checkpoint")
        status, records = train(self.folder, 2)
        self.assertEqual(status, 2)
        self.assertIn("step-00000012 is damaged", records[-1]["message"])

    def test_a_loss_that_is_not_finite_ends_all(self) -> None:
        status, records = train(self.folder, 2, learning_rate=1e30, warmup_steps=0, clip=1e30)
        self.assertEqual((status, records[-1]["event"]), (3, "error"))


class LostRanks(unittest.TestCase):
    def lose_rank_1(self, number: int) -> tuple[int, str, float]:
        """Send it a signal in mid-training; the exit status, what was said, seconds to the end."""
        with tempfile.TemporaryDirectory() as folder:
            command = command_of(Path(folder, "checkpoints"), 2, timeout_s=10, steps=5000)
            with subprocess.Popen(
                command, cwd=PLACE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as started:
                assert started.stdout is not None
                for line in started.stdout:
                    if '"event": "step"' in line:
                        break
                os.kill(process_of_rank(1, started.pid), number)
                began = time.monotonic()
                said = started.stdout.read()
                return started.wait(timeout=60), said, time.monotonic() - began

    def test_a_killed_rank_ends_the_others_and_is_named(self) -> None:
        status, said, seconds = self.lose_rank_1(signal.SIGKILL)
        self.assertEqual(status, 128 + signal.SIGKILL)
        self.assertIn("local rank 1 ended with signal 9", said)
        self.assertLess(seconds, 60)

    def test_a_silent_rank_ends_the_others_within_a_minute(self) -> None:
        status, said, seconds = self.lose_rank_1(signal.SIGSTOP)
        self.assertNotEqual(status, 0)
        self.assertIn("stopped sending heartbeats):\n1\n", said)
        self.assertLess(seconds, 60)


def process_of_rank(rank: int, launcher: int) -> int:
    """A rank's process, by its variable and its parent."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = (process / "environ").read_bytes().split(b"\0")
            status = (process / "status").read_text()
            if f"RANK={rank}".encode() in variables and f"PPid:\t{launcher}\n" in status:
                return int(process.name)
    raise AssertionError(f"no process has rank {rank}")


if __name__ == "__main__":
    unittest.main()
