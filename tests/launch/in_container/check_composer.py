"""Trainings of mosaicml-composer, for `python -m unittest check_composer` inside its image.

Standard library only; test_composer_program.py starts and reports each.
"""
# ruff: noqa: PT009  # the image has no pytest

import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PLACE = Path("/opt/mosaicml-composer")
FEW = {"steps": 12, "warmup_steps": 2, "checkpoint_every": 4, "validation_samples": 64}
PROMISED_LOSS, PROMISED_ACCURACY = 2.5, 0.9
TOLERANCE = 1e-5

OWN_GRADIENTS = """
from torch.nn.parallel import DistributedDataParallel
forward = DistributedDataParallel.forward
def alone(self, *inputs, **options):
    self.require_backward_grad_sync = False
    return forward(self, *inputs, **options)
DistributedDataParallel.forward = alone
"""
STANDS_STILL = """
import torch
torch.optim.AdamW.step = lambda self, closure=None: closure and closure()
"""


@dataclass(frozen=True)
class Run:
    """A training that has ended: its exit status, its records, and all that it said."""

    status: int
    records: list[dict[str, Any]]
    said: str

    @property
    def last(self) -> dict[str, Any]:
        return self.records[-1]

    @property
    def losses(self) -> dict[int, float]:
        return {one["step"]: one["loss"] for one in self.records if one["event"] == "step"}


def train(
    folder: Path, ranks: int = 2, *, name: str = "mpt-tiny", spoil: str = "", **changes: Any
) -> Run:
    """Train in a folder.

    Args:
        folder: Of the checkpoints.
        ranks: How many processes.
        name: Of the configuration.
        spoil: Python that runs before the program, in every process.
        changes: Keys of the configuration.
    """
    program = folder.parent / "program.py"
    program.write_text(f"{spoil}\nimport train\ntrain.records.run(train.main)\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={ranks}", str(program), f"--checkpoints={folder}"]
    command += [f"--configuration={PLACE}/configurations/{name}.json", "--timeout-s=30"]
    command += [f"--set={key}={value}" for key, value in changes.items()]
    done = subprocess.run(
        command, check=False, cwd=PLACE, capture_output=True, text=True, timeout=200
    )
    lines = done.stdout.splitlines()
    records = [json.loads(line) for line in lines if line.startswith('{"event"')]
    return Run(done.returncode, records, done.stdout + done.stderr)


@cache
def unbroken() -> tuple[Path, Run]:
    """Twelve steps by two processes, and their folder."""
    folder = Path(tempfile.mkdtemp()) / "checkpoints"
    run = train(folder, **FEW)
    assert run.status == 0, run.said
    return folder, run


class Trainings(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "checkpoints"

    def test_text_is_learnt_to_the_promised_loss(self) -> None:
        run = train(self.folder)
        self.assertEqual(run.status, 0, run.said)
        self.assertLess(run.last["loss"], PROMISED_LOSS)
        self.assertEqual((run.records[0]["world_size"], run.last["held_out"]), (2, 730))

    def test_images_are_learnt_to_the_promised_accuracy(self) -> None:
        run = train(self.folder, name="digits-resnet")
        self.assertEqual(run.status, 0, run.said)
        self.assertGreater(run.last["accuracy"], PROMISED_ACCURACY)

    def test_an_optimizer_that_stands_still_misses_both_promises(self) -> None:
        text = train(self.folder, spoil=STANDS_STILL)
        self.assertEqual(text.status, 0, text.said)
        self.assertGreater(text.last["loss"], PROMISED_LOSS + 1)
        shutil.rmtree(self.folder)
        images = train(self.folder, name="digits-resnet", spoil=STANDS_STILL)
        self.assertEqual(images.status, 0, images.said)
        self.assertLess(images.last["accuracy"], PROMISED_ACCURACY - 0.5)

    def test_ranks_that_keep_their_own_gradients_are_found_out(self) -> None:
        run = train(self.folder, spoil=OWN_GRADIENTS, **FEW)
        self.assertEqual(run.status, 1)
        self.assertIn("the ranks ended with different parameters", run.said)

    def test_one_process_has_the_same_losses_as_two(self) -> None:
        alone, two = train(self.folder, ranks=1, **FEW), unbroken()[1]
        self.assertEqual(alone.status, 0, alone.said)
        self.assertEqual(alone.losses.keys(), two.losses.keys())
        self.assertLess(two.losses[12], two.losses[1] - 0.5)
        for step, loss in two.losses.items():
            self.assertAlmostEqual(
                alone.losses[step] / loss, 1, delta=TOLERANCE, msg=f"step {step}"
            )

    def test_a_resume_repeats_an_unbroken_training_to_the_last_bit(self) -> None:
        expected = unbroken()[1]
        first = train(self.folder, spoil=ENDS_AFTER_STEP_8, **FEW)
        self.assertNotEqual(first.status, 0)
        events = [one["event"] for one in first.records]
        self.assertEqual((events.count("checkpoint"), events.count("final")), (2, 0), first.said)
        again = train(self.folder, **FEW)
        self.assertEqual(again.status, 0, again.said)
        self.assertEqual((again.records[1]["event"], again.records[1]["step"]), ("resume", 8))
        later = {step: loss for step, loss in expected.losses.items() if step > 8}
        self.assertEqual(again.losses, later)
        digest = "parameters_sha256"
        self.assertEqual(again.last[digest], expected.last[digest])


ENDS_AFTER_STEP_8 = """
import operators, os, reporting
report = reporting.Reporter.batch_end
def end(self, state, logger):
    report(self, state, logger)
    if int(state.timestamp.batch) > 8:
        os._exit(1)
reporting.Reporter.batch_end = end
"""


class Refusals(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "checkpoints"

    def refused(self, *told: str, ranks: int = 2, status: int = 2, **changes: Any) -> None:
        run = train(self.folder, ranks, **{**FEW, **changes})
        self.assertEqual(run.last["event"], "error", run.said)
        self.assertEqual((run.status != 0, run.last["status"]), (True, status))
        for text in told:
            self.assertIn(text, run.last["message"])

    def test_a_checkpoint_of_another_model_is_refused(self) -> None:
        shutil.copytree(unbroken()[0], self.folder, symlinks=True)
        self.refused("seed was 12345, is 7", seed=7)

    def test_a_checkpoint_whose_model_nobody_noted_is_refused(self) -> None:
        shutil.copytree(unbroken()[0], self.folder, symlinks=True)
        (self.folder / "configuration.json").unlink()
        self.refused("has a checkpoint, but no configuration.json")

    def test_processes_that_do_not_divide_the_batch_are_refused(self) -> None:
        self.refused("global_batch_size must be a multiple of the 2", global_batch_size=31)

    def test_sharding_without_a_gpu_is_refused(self) -> None:
        self.refused("needs GPUs", sharding="full")

    def test_a_setting_that_does_not_exist_is_refused(self) -> None:
        self.refused("stepz", stepz=1)

    def test_a_loss_that_is_not_finite_ends_all(self) -> None:
        self.refused("the loss is", status=3, learning_rate=1e30, warmup_steps=0)


if __name__ == "__main__":
    unittest.main()
