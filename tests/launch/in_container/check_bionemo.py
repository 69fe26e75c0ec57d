"""Tests of the parts of the bionemo test case, for `python -m unittest check_bionemo` in the image.

Standard library, torch and what the image has; test_bionemo_program.py starts and reports each.
"""
# ruff: noqa: PT009, PT027  # the image has no pytest

import json
import tempfile
import unittest
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import bionemo.core
import configuration
import framework
import model
import proteins
import torch
import train
from training.records import Stop

FOLDER = Path(train.__file__).parent / "configurations"
# Counted once in the authors' own package, fair-esm 2.0.0, without the head for contacts.
PUBLISHED = {
    "esm2-8m": 7_512_353,
    "esm2-35m": 33_501_153,
    "esm2-150m": 148_139_553,
    "esm2-650m": 651_042_593,
    "esm2-3b": 2_839_004_193,
    "esm2-15b": 15_129_098_273,
}


def loaded(name: str = "tiny") -> configuration.Configuration:
    return configuration.load(FOLDER / f"{name}.json")


def dealt(seed: int = 1, batch: int = 16, steps: int = 300) -> proteins.Proteins:
    return proteins.Proteins(None, length=64, seed=seed, batch=batch, steps=steps)


class Refusal(unittest.TestCase):
    def refused(self, action: object, *told: str, status: int = 2) -> None:
        with self.assertRaises(Stop) as caught:
            action()  # type: ignore[operator]
        self.assertEqual(caught.exception.status, status)
        for text in told:
            self.assertIn(text, caught.exception.message)


class Configurations(Refusal):
    def test_all_that_are_shipped_have_the_published_number_of_weights(self) -> None:
        self.assertEqual({path.stem for path in FOLDER.glob("*.json")}, {*PUBLISHED, "tiny"})
        for name, published in PUBLISHED.items():
            with self.subTest(name), torch.device("meta"):
                shape = loaded(name).architecture
                held = sum(p.numel() for p in model.Esm2(shape).parameters())
                self.assertEqual((shape.parameters(), held), (published, published))

    def test_wrong_files_are_named_with_what_is_wrong(self) -> None:
        whole = json.loads((FOLDER / "tiny.json").read_text())
        shape = whole["architecture"]
        for wrong, told in (
            ({**whole, "stepz": 1}, "stepz: there is no such setting, did you mean steps?"),
            ({k: v for k, v in whole.items() if k != "seed"}, "missing: seed"),
            ({**whole, "steps": 0}, "steps is 0; it must be above 0"),
            ({**whole, "steps": True}, "steps is True; it must be int"),
            ({**whole, "precision": "fp8"}, "precision must be fp32 or bf16"),
            ({**whole, "warmup_steps": 999}, "warmup_steps must be fewer than steps"),
            ({**whole, "architecture": {**shape, "heads": 5}}, "heads 5 must divide hidden 64"),
            ([], "is no configuration"),
        ):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "x.json"
                path.write_text(json.dumps(wrong))
                self.refused(lambda path=path: configuration.load(path), "x.json", told)

    def test_ranks_that_do_not_divide_the_work_are_an_error(self) -> None:
        self.assertEqual([train.turns(loaded(), ranks) for ranks in (1, 2, 16)], [1, 1, 1])
        small = replace(loaded(), micro_batch_size=3)
        self.assertEqual(train.turns(small, 2), 3)
        for ranks in (3, 32):
            self.refused(lambda n=ranks: train.turns(loaded(), n), "do not divide global_batch")

    def test_a_model_that_no_gpu_holds_is_refused_before_it_is_made(self) -> None:
        gpu = SimpleNamespace(total_memory=80 * 2**30)
        with mock.patch.object(torch.cuda, "get_device_properties", return_value=gpu):
            device = torch.device("cuda", 0)
            train.demand_room(loaded("esm2-3b"), device)
            large = loaded("esm2-15b")
            self.refused(lambda: train.demand_room(large, device), "225 GiB", "framework.py")

    def test_the_learning_rate_rises_and_falls_to_a_tenth(self) -> None:
        config = replace(loaded(), steps=110, warmup_steps=10, learning_rate=1.0)
        for step, rate in ((0, 0.1), (9, 1.0), (10, 1.0), (60, 0.55), (110, 0.1)):
            self.assertAlmostEqual(config.rate(step), rate)


class Model(unittest.TestCase):
    def setUp(self) -> None:
        self.shape = model.Architecture(layers=2, hidden=32, heads=4, ffn=128)
        self.esm = model.Esm2(self.shape)
        with torch.no_grad():
            for number, (name, value) in enumerate(sorted(self.esm.named_parameters())):
                wave = torch.arange(value.numel(), dtype=torch.float64) * 1.7 + number
                drawn = 0.3 * wave.sin()
                if "norm" in name and name.endswith("weight"):
                    drawn = 1 + 0.3 * drawn
                value.copy_(drawn.view(value.shape).float())
        rows = [[0, 20, 5, 6, 32, 8, 9, 2, 1], [0, 20, 15, 32, 32, 11, 12, 13, 2]]
        self.tokens = torch.tensor(rows)

    def test_its_outputs_are_those_of_the_authors_own(self) -> None:
        # fair-esm 2.0.0, ESM2(2, 32, 4) with these very weights, on these tokens.
        golden = {
            (0, 4, 7): 0.38095,
            (0, 7, 4): 0.41342,
            (1, 0, 0): -1.47433,
            (1, 3, 20): 0.21722,
            (1, 8, 32): -0.81762,
        }
        logits = self.esm(self.tokens)
        for place, value in golden.items():
            self.assertAlmostEqual(float(logits[place]), value, delta=2e-5)

    def test_padding_changes_nothing(self) -> None:
        short = self.esm(self.tokens[:1, :8])
        self.assertTrue(torch.allclose(short, self.esm(self.tokens)[:1, :8], atol=1e-5))

    def test_it_looks_to_both_sides(self) -> None:
        for changed in (1, 7):
            other = self.tokens.clone()
            other[1, changed] = 4
            difference = (self.esm(other) - self.esm(self.tokens))[1, 3].abs().max()
            self.assertGreater(float(difference), 1e-3)

    def test_every_weight_is_initialised_and_the_seed_decides(self) -> None:
        drawn = []
        for seed in (1, 1, 2):
            self.esm.initialise(seed)
            drawn.append(torch.cat([p.detach().flatten() for p in self.esm.parameters()]))
        self.assertTrue(torch.equal(drawn[0], drawn[1]))
        self.assertFalse(torch.equal(drawn[0], drawn[2]))
        self.assertLess(float(self.esm.blocks[0].up.weight.detach().abs().max()), 0.2)


class Data(Refusal):
    def test_the_proteins_that_ship_are_those_that_the_description_tells_of(self) -> None:
        whole = proteins.read_fasta(proteins.shipped())
        self.assertEqual((len(whole), sum(map(len, whole))), (2095, 679_183))
        letters = Counter("".join(whole))
        self.assertLessEqual(set(letters), set(model.LETTERS))
        self.assertEqual(len([x for x in letters if x in "LAGVSERTIDPKQNFYMHWC"]), 20)
        data = dealt()
        self.assertEqual((len(data.train), len(data.test)), (1886, 209))

    def test_the_ranks_share_a_global_batch_that_does_not_depend_on_them(self) -> None:
        whole, targets = dealt().batch(7)
        rows = []
        for part in range(4):
            inputs, _ = dealt().batch(7, part, 4)
            rows += [row[row != model.PAD].tolist() for row in inputs]
        expected = [row[row != model.PAD].tolist() for row in whole]
        self.assertEqual(sorted(rows), sorted(expected))
        self.assertEqual(whole.shape, targets.shape)

    def test_an_epoch_has_every_sequence_once_in_the_order_of_bionemo_core(self) -> None:
        data = dealt(batch=41, steps=92)
        resampler = data.samples
        self.assertEqual(type(resampler).__module__, "bionemo.core.data.multi_epoch_dataset")
        place = resampler._global_index_to_permuted_local_index
        epochs = [[place(n) for n in range(begin, begin + 1886)] for begin in (0, 1886)]
        for number, epoch in enumerate(epochs):
            self.assertEqual({index.epoch for index in epoch}, {number})
            self.assertEqual(sorted(int(i.idx) for i in epoch), list(range(1886)))
        first, second = ([int(i.idx) for i in epoch] for epoch in epochs)
        self.assertNotEqual(first, second)

    def test_what_is_hidden_changes_from_epoch_to_epoch(self) -> None:
        dataset = proteins.Sequences(["MKV" * 100], 64, 1)
        index = proteins.EpochIndex
        first, again, later = (dataset[index(epoch, 0)][1].tolist() for epoch in (0, 0, 1))
        self.assertEqual(first, again)
        self.assertNotEqual(first, later)

    def test_residues_are_hidden_as_the_paper_says(self) -> None:
        tokens = proteins.tokens_of("LAGVSERTIDPKQNFYMHWC" * 2000)
        inputs, targets = proteins.hide(tokens, torch.Generator().manual_seed(1))
        counted = targets != proteins.NOT_COUNTED
        self.assertTrue(torch.equal(inputs[~counted], tokens[~counted]))
        self.assertTrue(torch.equal(targets[counted], tokens[counted]))
        self.assertFalse(bool(counted[0] | counted[-1]))
        chosen = counted.sum().item()
        masked = (inputs[counted] == model.MASK).float().mean().item()
        same = (inputs[counted] == tokens[counted]).float().mean().item()
        self.assertAlmostEqual(chosen / 40_000, 0.15, delta=0.01)
        self.assertAlmostEqual(masked, 0.8, delta=0.02)
        self.assertAlmostEqual(same, 0.1 + 0.1 / 20, delta=0.02)
        swapped = inputs[counted & (inputs != model.MASK)]
        self.assertTrue(bool(((swapped >= 4) & (swapped < 24)).all()))

    def test_something_is_always_hidden(self) -> None:
        for seed in range(50):
            _, targets = proteins.hide(proteins.tokens_of("M"), torch.Generator().manual_seed(seed))
            self.assertEqual(targets.tolist()[1], model.ALPHABET.index("M"))

    def test_what_is_held_out_is_never_trained_on_and_shared_by_the_ranks(self) -> None:
        data = dealt()
        self.assertFalse(set(data.train) & set(data.test))
        counted = [sum(len(i) for i, _ in data.held_out(16, part, 4)) for part in range(4)]
        self.assertEqual((sum(counted), max(counted) - min(counted)), (209, 1))

    def test_files_that_are_no_proteins_are_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.fasta"
            self.refused(lambda: proteins.read_fasta(path), "cannot be read")
            for content, told in (
                ("", "there are no sequences"),
                ("MKV\n", ":1: no FASTA"),
                (">a\nMK7\n", ":2: no FASTA"),
            ):
                path.write_text(content)
                self.refused(lambda: proteins.read_fasta(path), "x.fasta", told)
            path.write_text(">a\nmk\nVL*\n")
            self.assertEqual(proteins.read_fasta(path), ["MKVL"])
            with mock.patch.object(proteins, "shipped", return_value=path):
                self.refused(dealt, "1 sequences are too few for a global batch of 16")


class Framework(Refusal):
    def test_bionemo_core_is_the_real_one(self) -> None:
        self.assertTrue(hasattr(bionemo.core, "BIONEMO_CACHE_DIR"))

    def test_the_command_has_the_shape_and_shares_the_batch(self) -> None:
        found = framework.command(
            loaded("esm2-650m"), nodes=2, gpus=8, tensor=1,
            data=Path("/data"), results=Path("/results"),
        )  # fmt: skip
        self.assertEqual(found[0], "train_esm2")
        for option in (
            "--num-layers=33", "--hidden-size=1280", "--num-attention-heads=20",
            "--ffn-hidden-size=5120", "--num-nodes=2", "--num-gpus=8", "--max-seq-length=1024",
            "--micro-batch-size=2", "--accumulate-grad-batches=32", "--precision=bf16-mixed",
        ):  # fmt: skip
            self.assertIn(option, found)
        files = [word.split("=")[1] for word in found if "-path=" in word]
        self.assertEqual(len(files), len(set(files)), "training and validation share no file")

    def test_gpus_that_cannot_share_are_refused(self) -> None:
        def wrong() -> None:
            framework.command(
                loaded("esm2-15b"), nodes=1, gpus=8, tensor=3,
                data=Path("/data"), results=Path("/results"),
            )  # fmt: skip

        self.refused(wrong, "8 GPUs, 3 of which share a layer")

    def test_without_transformer_engine_it_says_what_is_missing(self) -> None:
        self.refused(framework.demand_framework, "transformer_engine", "NVIDIA's image")


if __name__ == "__main__":
    unittest.main()
