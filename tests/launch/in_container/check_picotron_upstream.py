"""Tests of the test case picotron-upstream, for `python -m unittest` inside its image.

Standard library, torch and Picotron only; test_picotron_upstream_program.py starts them.
"""
# ruff: noqa: PT009, PT027  # the image has no pytest

import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from functools import cache
from pathlib import Path
from typing import Any

import patches
import train
from training.records import Stop

HERE = Path(train.__file__).parent
FOLDER = HERE / "configurations"
STEPS = 6
Changes = dict[str, dict[str, Any]]


def write(folder: Path, name: str, changes: Changes) -> Path:
    """Copy a configuration with some values of its sections changed, and few steps."""
    values = json.loads((FOLDER / f"{name}.json").read_text())
    values["training"]["total_train_steps"] = STEPS
    values["save_frequency"] = 3
    for section, some in changes.items():
        values[section] = {**(values[section] or {}), **some} if some else None
    path = folder / "configuration.json"
    path.write_text(json.dumps(values))
    return path


def run(
    folder: Path,
    processes: int,
    name: str = "tiny",
    changes: Changes | None = None,
    status: int = 0,
) -> list[dict[str, Any]]:
    """Records of a training, which must end well, or in an error with a status."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", str(HERE / "train.py")]
    command += ["--checkpoints", str(folder / "run")]
    command += ["--configuration", str(write(folder, name, changes or {}))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event"')]
    ended = next((one["status"] for one in records if one["event"] == "error"), 0)
    if (done.returncode == 0) != (status == 0) or ended != status:
        raise AssertionError(done.stdout[-2000:] + done.stderr[-4000:])
    return records


def losses(records: list[dict[str, Any]]) -> dict[int, float]:
    return {one["step"]: one["loss"] for one in records if one["event"] == "step"}


@cache
def short(processes: int, name: str) -> tuple[dict[int, float], float]:
    """Losses of a few steps, and on held-out text."""
    with tempfile.TemporaryDirectory() as folder:
        records = run(Path(folder), processes, name)
        return losses(records), records[-1]["loss"]


class Configurations(unittest.TestCase):
    def refused(self, changes: Changes, ranks: int = 2) -> str:
        with tempfile.TemporaryDirectory() as place, self.assertRaises(Stop) as caught:
            train.load(write(Path(place), "tiny", changes)).copies(ranks)
        self.assertEqual(caught.exception.status, 2)
        return caught.exception.message

    def test_all_are_read(self) -> None:
        for path in sorted(FOLDER.glob("*.json")):
            with self.subTest(path.stem):
                job = train.load(path)
                self.assertGreaterEqual(job.copies(2 * job.distributed.whole), 2)

    def test_what_cannot_be_is_refused_with_its_reason(self) -> None:
        split = {"distributed": {"tp_size": 4}}
        for changes, ranks, said in (
            ({"distributed": {"tp_size": 2}}, 3, "does not divide 3"),
            ({"distributed": {"cp_size": 2}}, 2, "use 4"),
            ({"distributed": {"cp_size": 3}}, 6, "cp_size must divide seq_length"),
            ({"distributed": {"pp_size": 3}}, 3, "too few"),
            ({"distributed": {"pp_engine": "zb"}}, 2, "1f1b or afab"),
            ({"training": {"seq_len": 1}}, 2, "did you mean seq_length?"),
            ({"local": {}}, 2, "either local is given"),
            (split, 4, "tp_size must divide num_key_value_heads"),
        ):
            with self.subTest(said):
                self.assertIn(said, self.refused(changes, ranks))


class Patches(unittest.TestCase):
    def test_what_is_used_must_be_there(self) -> None:
        with self.assertRaises(Stop) as caught:
            patches.install(cpu=False, used={"flash_attn"})
        self.assertIn("flash_attn", caught.exception.message)

    def test_the_source_is_unchanged(self) -> None:
        text = (train.PICOTRON / "picotron" / "utils.py").read_text()
        self.assertIn("device='cuda'", text)
        self.assertIn("import wandb", (train.PICOTRON / "train.py").read_text())


class Runs(unittest.TestCase):
    """Over gloo."""

    def test_it_learns(self) -> None:
        found, _ = short(2, "tiny")
        self.assertEqual(len(found), STEPS)
        self.assertLess(found[STEPS], found[1] - 1)

    def test_it_learns_in_each_split(self) -> None:
        for name in ("tiny-tensor", "tiny-pipeline"):
            with self.subTest(name):
                found, held_out = short(2, name)
                self.assertLess(found[STEPS], found[1] - 1)
                self.assertLess(held_out, found[1] - 1)

    def test_context_parallel_is_as_without(self) -> None:
        # Both have the same first weights, which a tensor or pipeline split has not.
        whole, of_whole = short(2, "tiny")
        split, of_split = short(4, "tiny-context")
        for step, loss in whole.items():
            self.assertAlmostEqual(split[step], loss, delta=1e-4 * loss)
        self.assertAlmostEqual(of_split, of_whole, delta=1e-4 * of_whole)

    def test_a_resumed_run_repeats_the_unbroken_one(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            unbroken = run(Path(place), 2)
            shutil.rmtree(Path(place, f"run/step-{STEPS:08d}"))
            resumed = run(Path(place), 2)
            self.assertEqual([r["step"] for r in resumed if r["event"] == "resume"], [3])
            late = {step: loss for step, loss in losses(unbroken).items() if step > 3}
            self.assertEqual(losses(resumed), late)
            self.assertEqual(resumed[-1]["loss"], unbroken[-1]["loss"])
            again = run(Path(place), 2)
            self.assertEqual(losses(again), {}, "it was at its end")
            self.assertEqual(again[-1]["loss"], unbroken[-1]["loss"])
            other = {"training": {"seq_length": 32}}
            said = run(Path(place), 2, changes=other, status=2)[-1]["message"]
            self.assertIn("training.seq_length was 64, is 32", said)

    def test_a_loss_that_is_not_finite_ends_it(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            far = {"training": {"learning_rate": 1e30}}
            records = run(Path(place), 2, changes=far, status=3)
            self.assertIn("the loss is", records[-1]["message"])
