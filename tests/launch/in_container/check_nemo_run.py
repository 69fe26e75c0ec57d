"""Tests of NeMo 2's recipes, for `python -m unittest check_nemo_run` in the image.

The recipes are those of the real nemo_toolkit; nothing is trained by them, which takes GPUs.
"""
# ruff: noqa: PT009, PT027  # the image has no pytest

import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import unittest
import warnings
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any

import fiddle
import nemo.collections.llm  # noqa: F401  # here, since it says much, and not in a test's line
import recipe
import recipe_configuration
import torch
import yaml
from lightning.pytorch import LightningModule, Trainer
from recipe_records import Records
from training.records import Stop

FOLDER = Path(recipe.__file__).parent
NODES = {"llama31-405b": 16, "llama3-70b": 8, "mixtral-8x7b": 8}
MODELS = {
    "llama31-180m": ("Llama31Config8B", 12, 768, 16),
    "llama3-8b": ("Llama3Config8B", 32, 4096, 32),
    "llama3-70b": ("Llama3Config70B", 80, 8192, 64),
    "llama31-405b": ("Llama31Config405B", 126, 16384, 128),
    "mixtral-8x7b": ("MixtralConfig8x7B", 32, 4096, 32),
}
STRATEGY = {
    "tensor_parallel": "tensor_model_parallel_size",
    "pipeline_parallel": "pipeline_model_parallel_size",
    "virtual_pipeline": "virtual_pipeline_model_parallel_size",
    "context_parallel": "context_parallel_size",
    "expert_parallel": "expert_model_parallel_size",
    "sequence_parallel": "sequence_parallel",
}


def made(name: str, **changes: Any) -> tuple[dict[str, Any], Any]:
    """What a configuration says, and NeMo's recipe of it."""
    told = json.loads((FOLDER / "configurations" / f"{name}.json").read_text()) | changes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.json"
        path.write_text(json.dumps(told))
        config = recipe_configuration.load(path)
        where = Path(folder) / "checkpoints"
        nodes = NODES.get(name, 1)
        return told, recipe.recipe_of(config, path, nodes=nodes, gpus=8, folder=where)


class Recipes(unittest.TestCase):
    def test_all_that_are_shipped_are_tried(self) -> None:
        recipes = {
            path.stem
            for path in (FOLDER / "configurations").glob("*.json")
            if recipe_configuration.is_recipe(path)
        }
        self.assertEqual(recipes, set(MODELS))
        self.assertEqual(metadata.version("nemo_toolkit"), "2.7.3")

    def test_the_work_is_cut_as_the_configuration_says(self) -> None:
        for name in MODELS:
            with self.subTest(name):
                told, it = made(name)
                strategy = it.trainer.strategy
                found = {key: getattr(strategy, theirs) for key, theirs in STRATEGY.items()}
                self.assertEqual(found, {key: told[key] for key in STRATEGY})
                self.assertEqual(it.trainer.num_nodes * it.trainer.devices, NODES.get(name, 1) * 8)
                pipeline = told["pipeline_parallel"] > 1
                self.assertEqual(strategy.pipeline_dtype, torch.bfloat16 if pipeline else None)

    def test_the_strategy_has_a_parameter_for_each_split(self) -> None:
        # fiddle takes any name for it; the recipe itself has none of these values.
        told = dict(zip(STRATEGY, (8, 2, 2, 4, 4, False), strict=True))
        known = fiddle.build(made("llama3-70b", **told)[1].trainer.strategy)
        for key, theirs in STRATEGY.items():
            with self.subTest(theirs):
                self.assertEqual(getattr(known, theirs), told[key])

    def test_batches_lengths_steps_and_precision_are_those_of_the_configuration(self) -> None:
        for name in MODELS:
            with self.subTest(name):
                told, it = made(name)
                for key, theirs in (
                    ("length", "seq_length"),
                    ("global_batch_size", "global_batch_size"),
                    ("micro_batch_size", "micro_batch_size"),
                ):
                    self.assertEqual(getattr(it.data, theirs), told[key])
                self.assertEqual(it.model.config.seq_length, told["length"])
                self.assertEqual(it.trainer.max_steps, told["steps"])
                self.assertEqual(it.trainer.plugins.precision, "bf16-mixed")
                self.assertEqual(it.optim.config.lr, told["learning_rate"])
                self.assertEqual(it.optim.lr_scheduler.warmup_steps, told["warmup_steps"])
                self.assertEqual(it.log.ckpt.every_n_train_steps, told["checkpoint_every"])

    def test_eight_bits_are_another_precision(self) -> None:
        for precision in recipe_configuration.PRECISIONS:
            plugin = made("llama3-8b", precision=precision)[1].trainer.plugins
            self.assertEqual(getattr(plugin, "fp8", None) is not None, "fp8" in precision)

    def test_megatrons_own_checks_accept_the_shape(self) -> None:
        for name, (kind, layers, hidden, heads) in MODELS.items():
            with self.subTest(name):
                model = made(name)[1].model.config
                model.apply_rope_fusion = False  # the only part that takes Transformer Engine
                with warnings.catch_warnings(action="ignore"):
                    built = fiddle.build(model)
                self.assertEqual(type(built).__name__, kind)
                shape = (built.num_layers, built.hidden_size, built.num_attention_heads)
                self.assertEqual(shape, (layers, hidden, heads))

    def test_the_data_need_no_hub(self) -> None:
        data = fiddle.build(made("llama3-8b")[1].data)
        self.assertEqual((data.seq_length, data.tokenizer.vocab_size), (8192, 512))


class Refusals(unittest.TestCase):
    def refused(self, told: str, name: str, **changes: Any) -> None:
        with self.assertRaises(Stop) as caught:
            made(name, **changes)
        self.assertEqual(caught.exception.status, 2)
        self.assertIn(told, caught.exception.message)

    def test_what_nemo_does_not_have(self) -> None:
        self.refused("NeMo has no recipe llama9_8b", "llama3-8b", recipe="llama9_8b")
        self.refused("No parameter named 'num_layer'", "llama3-8b", shape={"num_layer": 3})

    def test_a_model_that_cannot_be_cut_so(self) -> None:
        many = {"tensor_parallel": 16, "pipeline_parallel": 4}
        self.refused("16 does not divide 8 groups of heads", "llama3-70b", **many)
        self.refused("24 pieces of the pipeline do not divide 80", "llama3-70b", virtual_pipeline=3)

    def test_without_transformer_engine_nothing_is_trained(self) -> None:
        name, folder = "configurations/llama3-8b.json", tempfile.mkdtemp()
        done = subprocess.run(
            [sys.executable, "launch.py", f"--configuration={name}", f"--checkpoints={folder}"],
            cwd=FOLDER,
            env=os.environ | {"WORLD_SIZE": "8", "RANK": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 2, done.stderr)
        message = json.loads(done.stdout)["message"]
        self.assertIn("lacks Transformer Engine, 8 GPUs of this node (it has 0)", message)

    def test_it_is_printed_all_the_same(self) -> None:
        name = "configurations/llama3-70b.json"
        done = subprocess.run(
            [sys.executable, "recipe.py", f"--configuration={name}", "--nodes=8"],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        told = yaml.safe_load(done.stdout)
        self.assertEqual(told["_target_"], "nemo.collections.llm.api.pretrain")
        self.assertEqual(told["trainer"]["strategy"]["tensor_model_parallel_size"], 4)


class Sum(LightningModule):
    """A model of one weight that says what NeMo's models say."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.losses = losses

    def training_step(self, _batch: object, number: int) -> torch.Tensor:
        loss = self.weight.sum() * self.losses[number]
        self.log("reduced_train_loss", self.losses[number])
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def told_in(losses: list[float]) -> list[dict[str, Any]]:
    """The records of a training by Lightning on the CPU."""
    printed = io.StringIO()
    logging.disable()
    with redirect_stdout(printed):
        Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Records(tokens=10, log_every=2)],
        ).fit(Sum(losses), torch.utils.data.DataLoader(torch.zeros(len(losses), 1)))  # type: ignore[arg-type]
    lines = printed.getvalue().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


class Said(unittest.TestCase):
    def test_the_records_are_those_of_other_cases(self) -> None:
        records = told_in([4.0, 3.0, 2.5, 2.0])
        self.assertEqual([one["event"] for one in records], ["start", "step", "step", "final"])
        self.assertEqual([(one["step"], one["loss"]) for one in records[1:3]], [(2, 3.0), (4, 2.0)])
        self.assertGreater(records[1]["tokens_per_s"], 0)

    def test_a_loss_that_is_no_number_ends_the_training(self) -> None:
        with self.assertRaises(Stop) as caught:
            told_in([4.0, float("nan")])
        self.assertEqual(caught.exception.status, 3)
