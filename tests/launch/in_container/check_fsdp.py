"""Tests of the parts of the fsdp test case, for `python -m unittest check_fsdp` inside the image.

Standard library and torch only; test_fsdp_program.py starts them and reports each.
"""
# ruff: noqa: PT009, PT027  # the image has no pytest

import contextlib
import io
import json
import math
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from typing import Any

import configuration
import model
import torch
import train
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import linear, silu
from torch.utils.flop_counter import FlopCounterMode
from training.records import Stop

FOLDER = Path(train.__file__).parent / "configurations"
PUBLISHED = {
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "llama3-1-8b": 8_030_261_248,
    "llama3-1-70b": 70_553_706_496,
    "llama3-2-1b": 1_235_814_400,
    "llama3-2-3b": 3_212_749_824,
    "mathstral-7b": 7_248_023_552,
    "mixtral-8x7b": 46_702_792_704,
}


def loaded(name: str = "tiny", **changes: str) -> configuration.Configuration:
    return configuration.load(FOLDER / f"{name}.json", changes)


def refused(**changes: str) -> str:
    """Why some changes of the tiny configuration are an error."""
    try:
        loaded(**changes)
    except Stop as stop:
        return f"status {stop.status}: {stop.message}"
    raise AssertionError(f"{changes} was accepted")


def decoder(**changes: Any) -> model.Decoder:
    made = model.Decoder(replace(loaded().architecture, **changes))
    made.initialise(1)
    return made


class Configurations(unittest.TestCase):
    def test_all_that_are_shipped_have_the_published_number_of_weights(self) -> None:
        self.assertEqual({path.stem for path in FOLDER.glob("*.json")}, {*PUBLISHED, "tiny"})
        for name, published in PUBLISHED.items():
            with self.subTest(name), torch.device("meta"):
                shape = loaded(name).architecture
                held = sum(p.numel() for p in model.Decoder(shape).parameters())
                self.assertEqual((shape.parameters(), held), (published, published))

    def test_a_mistyped_name_is_an_error_with_a_hint(self) -> None:
        self.assertIn("did you mean recompute?", refused(recomput="true"))
        self.assertIn("did you mean layers?", refused(layer="3"))

    def test_a_mistyped_option_is_an_error_and_so_is_a_shortened_one(self) -> None:
        for option in ("--offload_activation", "--layer", "--checkpoint"):
            with (
                self.assertRaises(SystemExit) as caught,
                contextlib.redirect_stderr(io.StringIO()),
            ):
                train.parse(["--checkpoints", "x", option, "1"])
            self.assertEqual(caught.exception.code, 2)

    def test_a_file_with_a_missing_or_unknown_key_is_named_with_it(self) -> None:
        whole = json.loads((FOLDER / "tiny.json").read_text())
        for wrong, told in (
            ({**whole, "stepz": 1}, "stepz: there is no such setting, did you mean steps?"),
            ({k: v for k, v in whole.items() if k != "seed"}, "missing: seed"),
            ({**whole, "architecture": {}}, "rope_scaling"),
        ):
            with tempfile.TemporaryDirectory() as folder, self.assertRaises(Stop) as caught:
                path = Path(folder) / "x.json"
                path.write_text(json.dumps(wrong))
                configuration.load(path, {})
            self.assertIn("x.json", caught.exception.message)
            self.assertIn(told, caught.exception.message)

    def test_values_out_of_range_and_of_the_wrong_type_are_named(self) -> None:
        for changes, told in (
            ({"steps": "0"}, "steps is 0; it must be above 0"),
            ({"steps": "true"}, "steps is True; it must be int"),
            ({"steps": '"3"'}, "steps is '3'; it must be int"),
            ({"learning_rate": "0"}, "learning_rate is 0; it must be above 0"),
            ({"learning_rate": "NaN"}, "learning_rate is nan"),
            ({"precision": "fp8"}, "precision is 'fp8'; it must be fp32 or bf16"),
            ({"kv_heads": "3"}, "kv_heads 3 must divide heads 4"),
            ({"heads": "5"}, "heads 5 must divide hidden 64"),
            ({"betas": "[0.9]"}, "betas must be two numbers"),
            ({"experts_per_token": "2"}, "experts_per_token must be at most experts"),
            ({"warmup_steps": "120"}, "warmup_steps must be fewer than steps"),
        ):
            with self.subTest(changes):
                self.assertIn(told, why := refused(**changes))
                self.assertTrue(why.startswith("status 2: "))

    def test_ranks_that_do_not_divide_the_work_are_an_error(self) -> None:
        config = loaded()
        self.assertEqual([config.micro_batches(ranks) for ranks in (1, 2, 4, 8)], [2, 1, 1, 1])
        for ranks in (3, 16):
            with self.assertRaises(Stop) as caught:
                config.micro_batches(ranks)
            self.assertIn("do not divide global_batch_size, 8", caught.exception.message)
        with self.assertRaises(Stop) as caught:
            replace(config, micro_batch_size=3).micro_batches(1)
        self.assertIn("8 sequences of a step, which 3 turns do not", caught.exception.message)

    def test_the_learning_rate_rises_straight_and_falls_as_a_cosine(self) -> None:
        config = loaded(steps="110", learning_rate="1.0", final_learning_rate="0.2")
        rates = [config.rate(step) for step in range(110)]
        self.assertAlmostEqual(rates[0], 0.1)
        self.assertAlmostEqual(rates[10], 1.0)
        self.assertAlmostEqual(rates[60], 0.6)
        self.assertAlmostEqual(config.rate(110), 0.2)
        self.assertEqual(rates[10:], sorted(rates[10:], reverse=True))


class Model(unittest.TestCase):
    def setUp(self) -> None:
        torch.manual_seed(0)
        self.tokens = torch.randint(256, (2, 17))

    def test_a_later_token_changes_nothing_before_it(self) -> None:
        for experts in (1, 4):
            whole = decoder(experts=experts, experts_per_token=min(2, experts))
            before = whole.logits(self.tokens)
            self.tokens[:, 9] = (self.tokens[:, 9] + 1) % 256
            after = whole.logits(self.tokens)
            self.assertTrue(torch.allclose(before[:, :9], after[:, :9], atol=1e-6))
            self.assertFalse(torch.allclose(before[:, 9:], after[:, 9:], atol=1e-6))

    def test_attention_depends_on_the_distance_of_tokens_alone(self) -> None:
        shape = loaded("llama3-1-8b").architecture
        cos, sin = model.rotations(shape, 600, torch.device("cpu"))
        query, key = torch.randn(2, shape.head)
        turned = [model.rotate(x.expand(600, -1), cos, sin) for x in (query, key)]
        near, far = (turned[0][begin + 50] @ turned[1][begin] for begin in (0, 500))
        self.assertAlmostEqual(float(near), float(far), places=3)
        self.assertAlmostEqual(float(turned[0][500].norm()), float(query.norm()), places=4)

    def test_only_slow_rotations_are_stretched(self) -> None:
        shape = loaded("llama3-1-8b").architecture
        plain = replace(shape, rope_scaling=None)
        cpu = torch.device("cpu")
        stretched, usual = (
            torch.atan2(*reversed([t[1] for t in model.rotations(s, 2, cpu)]))
            for s in (shape, plain)
        )
        ratio = (usual / stretched)[: shape.head // 2]
        wave = 2 * math.pi / usual[: shape.head // 2]
        self.assertTrue(torch.allclose(ratio[wave < 8192 / 4], torch.tensor(1.0)))
        self.assertTrue(torch.allclose(ratio[wave > 8192], torch.tensor(8.0)))
        self.assertTrue(bool((ratio.diff() >= -1e-4).all()))

    def test_shared_heads_are_full_heads_that_are_equal(self) -> None:
        shared = decoder(kv_heads=2)
        full = decoder(kv_heads=4)
        weights = shared.state_dict()
        for name in [name for name in weights if "key" in name or "value" in name]:
            parts = weights[name].view(2, 16, 64)
            weights[name] = parts.repeat_interleave(2, dim=0).reshape(64, 64)
        full.load_state_dict(weights)
        difference = full.logits(self.tokens) - shared.logits(self.tokens)
        self.assertLess(float(difference.detach().abs().max()), 1e-5)

    def test_experts_are_the_weighted_sum_of_the_best(self) -> None:
        layer = decoder(experts=4, experts_per_token=2).blocks[0].ffn
        x = torch.randn(3, 5, 64)
        scores, chosen = layer.router(x).topk(2)
        expected = torch.zeros_like(x)
        for place, share in enumerate(scores.softmax(-1).unbind(-1)):
            for number in range(4):
                gate, up, down = (m.chunk(4)[number] for m in (layer.gate, layer.up, layer.down))
                result = linear(silu(linear(x, gate)) * linear(x, up), down)
                picked = chosen[..., place] == number
                expected += result * (share * picked)[..., None]
        self.assertTrue(torch.allclose(layer(x), expected, atol=1e-6))

    def test_the_flops_are_those_that_torch_counts(self) -> None:
        for experts in (1, 4):
            whole = decoder(experts=experts, experts_per_token=min(2, experts))
            inputs, targets = self.tokens[:, :16], self.tokens[:, 1:]
            counter = FlopCounterMode(display=False)
            with counter, sdpa_kernel(SDPBackend.MATH):
                whole(inputs, targets).backward()
            told = whole.shape.flops_per_token(16) * inputs.numel()
            self.assertAlmostEqual(counter.get_total_flops() / told, 1, delta=0.02)

    def test_every_weight_is_initialised(self) -> None:
        with torch.device("meta"):
            empty = model.Decoder(loaded().architecture)
        empty.to_empty(device="cpu")
        with torch.no_grad():
            for parameter in empty.parameters():
                parameter.fill_(math.nan)
        empty.initialise(1)
        for name, parameter in empty.named_parameters():
            adds = name.endswith(("out.weight", "down.weight"))
            deviation = 0.0 if parameter.dim() == 1 else 0.01 if adds else 0.02
            self.assertAlmostEqual(
                float(parameter.detach().std()), deviation, delta=0.001, msg=name
            )
        again = decoder().state_dict()
        self.assertTrue(all(torch.equal(v, again[k]) for k, v in empty.state_dict().items()))

    def test_what_is_computed_again_has_the_same_gradient(self) -> None:
        plain, again = decoder(), decoder()
        for block in again.blocks:
            block.optimise(recompute=True, compiled=False)
        for one in (plain, again):
            one(self.tokens[:, :-1], self.tokens[:, 1:]).backward()
        for (name, a), b in zip(plain.named_parameters(), again.parameters(), strict=True):
            self.assertTrue(torch.equal(a.grad, b.grad), name)


if __name__ == "__main__":
    unittest.main()
