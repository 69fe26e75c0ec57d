"""Tests of the data of the fsdp test case, for `python -m unittest check_fsdp_data` in the image.

Standard library and torch only; test_fsdp_program.py starts them and reports each.
"""
# ruff: noqa: PT009, PT027  # the image has no pytest

import json
import os
import sys
import tempfile
import types
import unittest
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import data
import hub
import torch
from check_fsdp import loaded
from training.records import Stop


def rank(number: int = 0, of: int = 1) -> Any:
    return SimpleNamespace(rank=number, ranks=of, control_group=None)


class Data(unittest.TestCase):
    def seen(self, ranks: int, steps: int = 20) -> list[list[list[str]]]:
        """The sequences of each rank at each step."""
        sources = [data.TextSource(loaded(), rank(number, ranks)) for number in range(ranks)]
        return [
            [[str(row.tolist()) for row in source.batch(step)[0]] for source in sources]
            for step in range(steps)
        ]

    def test_no_two_ranks_see_the_same_sequence(self) -> None:
        for ranks in (2, 4):
            every = [row for step in self.seen(ranks) for share in step for row in share]
            self.assertEqual(len(every), 20 * 8)
            self.assertEqual(len(set(every)), len(every))

    def test_a_global_batch_does_not_depend_on_the_number_of_ranks(self) -> None:
        batches = [
            [sorted(row for share in step for row in share) for step in self.seen(ranks)]
            for ranks in (1, 2, 4)
        ]
        self.assertEqual(batches[0], batches[1])
        self.assertEqual(batches[0], batches[2])

    def test_sequences_have_the_length_that_the_configuration_says(self) -> None:
        for context in (16, 200):
            inputs, targets = data.TextSource(loaded(context=str(context)), rank()).batch(0)
            self.assertEqual((tuple(inputs.shape), tuple(targets.shape)), ((8, context),) * 2)
            self.assertTrue(torch.equal(inputs[:, 1:], targets[:, :-1]))

    def test_validation_has_its_own_batch_size_and_each_sequence_counts_once(self) -> None:
        source = data.TextSource(loaded(), rank())
        for ranks in (1, 2, 3):
            turns = [
                list(data.validation_batches(source, 50, None, number, ranks))
                for number in range(ranks)
            ]
            self.assertEqual(len({len(one) for one in turns}), 1, "all ranks take as many turns")
            counted = [batch[0] for one in turns for batch, counts in one if counts]
            self.assertEqual({len(inputs) for inputs in counted}, {50, 730 % 50})
            rows = Counter(str(row.tolist()) for inputs in counted for row in inputs)
            self.assertEqual(rows, Counter(str(row[:-1].tolist()) for row in source.windows.test))

    def test_pythons_source_is_enough_for_the_longest_sequences(self) -> None:
        config = loaded("mixtral-8x7b")
        source = data.TextSource(config, rank())
        self.assertGreater(len(source.windows.train), config.global_batch_size)

    def test_text_comes_from_a_path_too(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "a.txt").write_bytes(b"ab" * 4000)
            inputs, _ = data.TextSource(loaded(data=folder), rank()).batch(0)
            self.assertEqual(set(inputs.unique().tolist()), {ord("a"), ord("b")})
            with self.assertRaises(Stop) as caught:
                data.TextSource(loaded(data=f"{folder}/none"), rank())
        self.assertIn("none", caught.exception.message)

    def test_a_tokenizer_of_another_vocabulary_is_refused(self) -> None:
        size = SimpleNamespace(get_vocab_size=lambda: 32_000)
        with mock.patch.object(data, "_tokenizer_file", return_value=size):
            data.Tokenizer("llama2.json", 32_000)
            with self.assertRaises(Stop) as caught:
                data.Tokenizer("llama2.json", 128_256)
        self.assertIn("llama2.json has 32000 tokens", caught.exception.message)
        self.assertIn("--set vocabulary=32000", caught.exception.message)

    def test_packages_that_the_image_lacks_are_named(self) -> None:
        lacking = {"tokenizers": None, "datasets": None}
        with mock.patch.dict(sys.modules, lacking):
            for name, made in (
                ("tokenizers", lambda: data.TextSource(loaded(tokenizer="x.json"), rank())),
                ("datasets", lambda: data.open_source(loaded(data="hub:a/b"), rank())),
            ):
                with self.assertRaises(Stop) as caught:
                    made()
                self.assertIn(f"the package {name}", caught.exception.message)


class Documents:
    """Stands in for a streamed dataset of the `datasets` package."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.position = texts, 0

    def __iter__(self) -> Any:
        while self.position < len(self.texts):
            self.position += 1
            yield {"text": self.texts[self.position - 1]}
        self.position = 0

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state["position"]


class Hub(unittest.TestCase):
    def setUp(self) -> None:
        self.asked: list[dict[str, Any]] = []
        package = types.ModuleType("datasets")
        package.load_dataset = self.load_dataset
        package.distributed = types.ModuleType("datasets.distributed")
        package.distributed.split_dataset_by_node = lambda documents, rank, world_size: Documents(
            documents.texts[rank::world_size]
        )
        modules = {"datasets": package, "datasets.distributed": package.distributed}
        patch = mock.patch.dict(sys.modules, modules)
        patch.start()
        self.addCleanup(patch.stop)
        gather = mock.patch.object(hub.dist, "all_gather_object", self.gather)
        gather.start()
        self.addCleanup(gather.stop)

    def load_dataset(self, path: str, **options: Any) -> Documents:
        self.asked.append({"path": path, **options})
        return Documents([f"{options['split']} {n:04} " * (1 + n % 7) for n in range(300)])

    def gather(self, parts: list[Any], mine: Any, **_: Any) -> None:
        self.assertEqual(len(parts), len(self.sources))
        for number, source in enumerate(self.sources):
            parts[number] = {str(lane): one.state() for lane, one in source.lanes.items()}
        self.assertIn(mine, parts)

    def open(self, ranks: int) -> None:
        config = loaded(data="hub:some/text:en", context="32")
        self.sources = [data.open_source(config, rank(n, ranks)) for n in range(ranks)]

    def batches(self, steps: int) -> list[list[list[int]]]:
        """Each global batch, sorted; no sequence twice."""
        taken = []
        for step in range(steps):
            rows = [row.tolist() for source in self.sources for row in source.batch(step)[0]]
            self.assertEqual(len({str(row) for row in rows}), 8)
            taken.append(sorted(rows))
        return taken

    def test_a_global_batch_does_not_depend_on_the_number_of_ranks(self) -> None:
        found = []
        for ranks in (1, 2, 4):
            self.open(ranks)
            found.append(self.batches(60))
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0], found[2])

    def test_other_ranks_go_on_where_those_before_stopped(self) -> None:
        self.open(2)
        whole = self.batches(60)
        self.open(2)
        self.batches(23)
        state = json.loads(json.dumps(self.sources[0].state()))
        for ranks in (1, 2, 4):
            self.open(ranks)
            for source in self.sources:
                source.load_state(state)
            self.assertEqual(self.batches(37), whole[23:])

    def test_validation_is_of_another_split(self) -> None:
        self.open(1)
        rows = [row for i, _ in self.sources[0].held_out(4, 10) for row in i]
        self.assertEqual(len(rows), 10)
        self.assertIn(b"validation", bytes(rows[0].tolist()))

    def test_the_token_comes_from_the_environment_alone(self) -> None:
        with mock.patch.dict(os.environ, {"HF_TOKEN": "of the environment"}):
            self.open(1)
        asked = self.asked[0]
        self.assertEqual((asked["path"], asked["name"]), ("some/text", "en"))
        self.assertEqual((asked["token"], asked["streaming"]), ("of the environment", True))
        self.assertNotIn("trust_remote_code", asked)


if __name__ == "__main__":
    unittest.main()
