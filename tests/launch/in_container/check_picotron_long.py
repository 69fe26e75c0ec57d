"""Further layouts of picotron, for `python -m unittest check_picotron_long` inside the image."""
# ruff: noqa: PT009  # the image has no pytest

import signal
import tempfile
import time
import unittest
from pathlib import Path

from check_picotron import ALL_TO_ALL, CONTEXT, PIPELINE, SEQUENCE, TENSOR, demand_same, whole
from check_picotron_runs import Run
from picotron_ranks import run_layouts

LONG = {
    "data-sequence": SEQUENCE,
    "data-all-to-all": ALL_TO_ALL,
    "tensor-pipeline": TENSOR | PIPELINE,
    "tensor-ring": TENSOR | CONTEXT,
    "tensor-all-to-all": TENSOR | ALL_TO_ALL,
    "pipeline-all-to-all": PIPELINE | ALL_TO_ALL,
    "four-stages-1f1b": {"pipeline": 4},
    "four-stages-afab": {"pipeline": 4, "schedule": "afab"},
    "ring-of-four": {"context": 4},
    "tensor-of-four": {"tensor": 4, "sequence_parallel": True},
}
EIGHT = {
    "sequence-pipeline-ring": SEQUENCE | PIPELINE | CONTEXT,
    "data-sequence-pipeline": SEQUENCE | PIPELINE,
}


class Parity(unittest.TestCase):
    def test_four_processes_train_as_one(self) -> None:
        demand_same(self, run_layouts(4, whole(LONG)), LONG)

    def test_eight_processes_train_as_one(self) -> None:
        demand_same(self, run_layouts(8, whole(EIGHT)), EIGHT)


class Hangs(unittest.TestCase):
    def test_a_hung_process_makes_the_others_stop(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "checkpoints"
            run = Run(2, folder, patience_s=8, steps=100000, checkpoint_every=2)
            while not list(folder.glob("*/complete.json")):
                time.sleep(0.05)
                self.assertIsNone(run.processes[0].poll())
            run.processes[1].send_signal(signal.SIGSTOP)
            self.addCleanup(run.processes[1].kill)
            self.assertEqual(run.processes[0].wait(timeout=60), 1)
            run.processes[1].kill()
            run.end()


if __name__ == "__main__":
    unittest.main()
