"""Whole trainings of picotron, for `python -m unittest check_picotron_runs` inside the image.

Standard library and torch only; test_picotron_program.py starts them and reports each.
"""
# ruff: noqa: PT009, PT027  # the image has no pytest

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from functools import cache
from pathlib import Path
from typing import Any

import configuration
import train
from picotron_ranks import CONFIGURATION

BOUND = 2.7  # held-out loss that case.yml promises
FEW = {"steps": 9, "checkpoint_every": 3, "held_out_windows": 8, "keep_checkpoints": 2}
LONG_ENOUGH_S = 120
PROGRAM = Path(train.__file__)


class Run:
    """Some processes of train.py, started by hand: torchrun itself takes seconds."""

    def __init__(self, ranks: int, folder: Path, patience_s: int = 20, **changes: Any) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        command = [sys.executable, str(PROGRAM), f"--checkpoints={folder}"]
        command += [f"--timeout-s={patience_s}"]
        command += [f"--set={name}={value}" for name, value in changes.items()]
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(ranks)}
        self.processes = [
            subprocess.Popen(
                command,
                env={**os.environ, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(ranks)
        ]

    def end(self) -> "Run":
        """Wait for all."""
        self.printed = [p.communicate(timeout=LONG_ENOUGH_S)[0] for p in self.processes]
        self.statuses = [process.returncode for process in self.processes]
        return self

    def of(self, event: str) -> list[dict[str, Any]]:
        """Rank 0's records of an event."""
        lines = (line for line in self.printed[0].splitlines() if line.startswith("{"))
        return [record for record in map(json.loads, lines) if record["event"] == event]

    @property
    def losses(self) -> dict[int, float]:
        return {record["step"]: record["loss"] for record in self.of("step")}

    @property
    def error(self) -> str:
        return str(self.of("error")[0]["message"])


@cache
def unbroken() -> tuple[Run, tempfile.TemporaryDirectory[str]]:
    folder = tempfile.TemporaryDirectory()
    return Run(2, Path(folder.name), **FEW).end(), folder


class Trainings(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "checkpoints"

    def test_the_default_configuration_reaches_what_is_promised(self) -> None:
        run = Run(2, self.folder).end()
        self.assertEqual(run.statuses, [0, 0], run.printed)
        final = run.of("final")[0]
        self.assertLess(final["loss"], BOUND)
        self.assertEqual(final["held_out"], 256)
        self.assertLess(run.losses[120], run.losses[1] - 2.5)
        self.assertEqual([r["step"] for r in run.of("checkpoint")], [30, 60, 90, 120])
        self.assertEqual(len(list(self.folder.glob("step-00000120/pipeline-0-tensor-*.pt"))), 2)

    def test_a_resume_repeats_the_losses_of_an_unbroken_run(self) -> None:
        whole, _ = unbroken()
        self.assertEqual(whole.statuses, [0, 0], whole.printed)
        first = Run(2, self.folder, **FEW)
        while not (self.folder / "step-00000003/complete.json").exists():
            time.sleep(0.01)
            self.assertIsNone(first.processes[0].poll())
        for process in first.processes:
            process.send_signal(signal.SIGKILL)
        first.end()
        second = Run(2, self.folder, **FEW).end()
        resumed = second.of("resume")[0]["step"]
        self.assertIn(resumed, (3, 6))
        for step, loss in second.losses.items():
            self.assertEqual(loss, whole.losses[step])
        digests = {run.of("final")[0]["parameters_sha256"] for run in (whole, second)}
        self.assertEqual(len(digests), 1)

    def test_another_model_and_another_split_are_refused(self) -> None:
        _, folder = unbroken()
        for changes, told in (
            ({"ffn": 96}, "ffn was 192, is 96"),
            ({"tensor": 1, "pipeline": 2}, "pipeline was 1, is 2; tensor was 2, is 1"),
        ):
            run = Run(2, Path(folder.name), **{**FEW, **changes}).end()
            self.assertEqual(run.statuses, [2, 2], run.printed)
            self.assertIn("is of another configuration: " + told, run.error)

    def test_a_killed_process_makes_the_others_stop(self) -> None:
        run = Run(2, self.folder, steps=100000, checkpoint_every=2)
        while not list(self.folder.glob("*/complete.json")):
            time.sleep(0.05)
            self.assertIsNone(run.processes[0].poll())
        began = time.monotonic()
        run.processes[1].send_signal(signal.SIGKILL)
        run.end()
        self.assertEqual(run.statuses, [1, -signal.SIGKILL])
        self.assertLess(time.monotonic() - began, 40)

    def test_processes_that_do_not_divide_are_refused(self) -> None:
        run = Run(2, self.folder, tensor=3).end()
        self.assertEqual(run.statuses, [2, 2], run.printed)
        told = "2 processes are no multiple of tensor 3 x pipeline 1 x context 1 = 3"
        self.assertEqual(run.error, told)


class Configurations(unittest.TestCase):
    def test_wrong_values_are_refused(self) -> None:
        for name, value, told in (
            ("tensro", "2", "there is no such setting, did you mean tensor?"),
            ("sequence", "0", "sequence is 0"),
            ("layers", "two", "layers is 'two'; it must be int"),
            ("schedule", "zb", "schedule is 'zb'; it must be 1f1b or afab"),
            ("kv_heads", "3", "kv_heads must divide heads"),
        ):
            with self.subTest(name), self.assertRaises(train.Stop) as stopped:
                configuration.load(train.DEFAULT_CONFIGURATION, [(name, value)])
            self.assertEqual(stopped.exception.status, 2)
            self.assertIn(told, stopped.exception.message)

    def test_the_models_have_their_published_sizes(self) -> None:
        folder = train.DEFAULT_CONFIGURATION.parent
        for name, parameters in (
            ("smollm-1-7b-5-layers", 536_893_440),
            # 1711376384 of the published one, and an output layer of its own
            ("smollm-1-7b", 1_711_376_384 + 49152 * 2048),
        ):
            config = configuration.load(folder / f"{name}.json")
            self.assertEqual(train.parameters_of(config)[0], parameters)

    def test_all_configurations_can_be_read_and_divided(self) -> None:
        for path in train.DEFAULT_CONFIGURATION.parent.glob("*.json"):
            config = configuration.load(path)
            model = config.tensor * config.pipeline * config.context
            self.assertEqual(config.layout(2 * model).data, 2)


class Layouts(unittest.TestCase):
    def test_what_does_not_divide_is_refused(self) -> None:
        for ranks, changes, told in (
            (3, {}, "global_batch_size is 4: no multiple of 3"),
            (8, {"tensor": 8}, "kv_heads is 4: no multiple of 8"),
            (3, {"context": 3}, "sequence is 32: no multiple of 6"),
            (8, {"pipeline": 8}, "4 layers are too few for a pipeline of 8 stages"),
        ):
            config = type(CONFIGURATION)(**{**vars(CONFIGURATION), **changes})
            with self.subTest(changes), self.assertRaises(train.Stop) as stopped:
                config.layout(ranks)
            self.assertIn(told, stopped.exception.message)


if __name__ == "__main__":
    unittest.main()
