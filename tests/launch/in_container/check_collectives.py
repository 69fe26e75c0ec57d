"""Tests of containers/shared/collectives with real processes, for `python -m unittest`.

Standard library and torch only; test_collectives.py starts them inside an image.
"""
# ruff: noqa: PT009  # the image has no pytest

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from collectives.bandwidth import OPERATIONS

BROKEN = """
import runpy, torch.distributed as dist
{spoil}
runpy.run_module("collectives", run_name="__main__", alter_sys=True)
"""


def measured(
    *arguments: str, processes: int = 2, spoil: str = "pass"
) -> tuple[int, list[dict[str, object]], str]:
    """Exit status, records and errors of the program, with something spoilt before it begins."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.py")
        path.write_text(BROKEN.format(spoil=spoil))
        done = subprocess.run(
            ["torchrun", "--standalone", f"--nproc-per-node={processes}", path, *arguments],
            capture_output=True, text=True, check=False, timeout=100, env=os.environ,
        )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return done.returncode, [json.loads(line) for line in lines], done.stderr


class Measuring(unittest.TestCase):
    def test_every_operation_is_right_at_every_size(self) -> None:
        status, records, errors = measured("--least=8", "--most=64", processes=3)
        self.assertEqual(status, 0, errors)
        found = [record for record in records if record["event"] == "measured"]
        self.assertEqual({record["operation"] for record in found}, set(OPERATIONS))
        self.assertEqual(len(found), 4 * len(OPERATIONS))
        self.assertEqual({record["wrong"] for record in found}, {0})
        self.assertTrue(all(record["time_us"] > 0 for record in found))
        self.assertEqual((records[0]["ranks"], records[0]["backend"]), (3, "gloo"))
        self.assertNotIn("FutureWarning", errors)

    def spoilt(self, operation: str, spoil: str) -> None:
        arguments = ("--least=64", "--most=64", f"--operations={operation}")
        status, records, errors = measured(*arguments, spoil=spoil)
        self.assertEqual(status, 1, errors)
        self.assertEqual(records[-1]["event"], "end")
        self.assertGreater(records[-1]["wrong"], 0)

    def test_a_sum_that_does_not_happen_is_found(self) -> None:
        self.spoilt("all_reduce", "dist.all_reduce = lambda tensor: None")

    def test_an_exchange_of_the_wrong_parts_is_found(self) -> None:
        self.spoilt("all_to_all", "dist.all_to_all_single = lambda out, mine: out.copy_(mine)")

    def test_more_than_memory_allows_is_refused(self) -> None:
        status, records, errors = measured(f"--least={2**50}")
        self.assertNotEqual(status, 0)
        self.assertIn("memory allows", errors)
        self.assertEqual(records, [])
