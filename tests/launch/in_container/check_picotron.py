"""Parity of picotron's layouts, for `python -m unittest check_picotron` inside the image.

Every layout must train as one process does: the same losses and norms of the gradient in every step
and the same held-out loss, in float64. And each axis, once its messages are broken, must not.
"""
# ruff: noqa: PT009  # the image has no pytest

import unittest
from contextlib import AbstractContextManager
from functools import cache
from typing import Any
from unittest import mock

import context
import gradients
import pipeline
import tensor
import torch
import train
from groups import Group
from picotron_ranks import CONFIGURATION, STEPS, Breakage, Layouts, run_layouts, unbroken

TOLERANCE = 1e-9  # relative
BROKEN = 1e-5  # a broken layout is further off than this

TENSOR, PIPELINE, CONTEXT = {"tensor": 2}, {"pipeline": 2}, {"context": 2}
SEQUENCE = {"tensor": 2, "sequence_parallel": True}
ALL_TO_ALL = {"context": 2, "context_method": "all_to_all"}

TWO = {
    "data": {},
    "tensor": TENSOR,
    "sequence": SEQUENCE,
    "pipeline-1f1b": PIPELINE,
    "pipeline-afab": {**PIPELINE, "schedule": "afab"},
    "ring": CONTEXT,
    "all-to-all": ALL_TO_ALL,
}
FOUR = {
    "data-tensor": TENSOR,
    "data-pipeline": PIPELINE,
    "data-ring": CONTEXT,
    "sequence-pipeline": SEQUENCE | PIPELINE,
    "sequence-ring": SEQUENCE | CONTEXT,
    "pipeline-ring": PIPELINE | CONTEXT,
}


def patched(where: Any, name: str, value: Any) -> Breakage:
    """A breakage: something else in the place of an attribute."""

    def breakage() -> AbstractContextManager[Any]:
        return mock.patch.object(where, name, value)

    return breakage


def added_twice(bucket: list[torch.Tensor], group: Group) -> None:
    for gradient in bucket:
        gradient.mul_(group.size)


def kept(block: torch.Tensor, _group: Group) -> torch.Tensor:
    return block


def sent_backwards(block: torch.Tensor, group: Group) -> torch.Tensor:
    received = torch.empty_like(block)
    group.exchange(block, -1, received, 1)
    return received


def no_all_to_all(_group: Group, x: torch.Tensor, split: int, join: int) -> torch.Tensor:
    pieces = x.chunk(2, dim=split)
    return torch.cat((pieces[0], pieces[0]), dim=join)


def first_piece(group: Group, x: torch.Tensor, dim: int) -> torch.Tensor:
    return x.chunk(group.size, dim)[group.rank].clone()


def own_gradient(_ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
    return gradient, None


def alone(_group: Group, x: torch.Tensor, *_: Any) -> torch.Tensor:
    return x


real_clip = gradients.clip
real_from_next = pipeline.Pipeline.from_next


def own_norm(parameters: Any, mesh: Any, greatest: float) -> float:
    """As gradients.clip, but for the norm, which is that of this process's part."""
    with mock.patch.object(Group, "all_reduce", alone):
        return real_clip(parameters, mesh, greatest)


def zero_from_next(self: Any, *args: Any) -> torch.Tensor | None:
    received = real_from_next(self, *args)
    return None if received is None else torch.zeros_like(received)


def half_lost(self: Any, *args: Any) -> torch.Tensor | None:
    received = real_from_next(self, *args)
    return None if received is None else received / 2


def no_optimizer(_self: Any, *_args: Any) -> None:
    """Learn nothing."""


STAGE = pipeline.Pipeline
BREAKAGES: Layouts = {
    "data: gradients are not added": ({}, patched(gradients, "_all_reduce", lambda *_: None)),
    "data: scaled instead of added": ({}, patched(gradients, "_all_reduce", added_twice)),
    "tensor: no all_reduce in the backward pass": (
        TENSOR,
        patched(tensor._Copy, "backward", staticmethod(own_gradient)),
    ),
    "tensor: norm of one part alone": (TENSOR, patched(train, "clip", own_norm)),
    "sequence: no sum in the reduce_scatter": (
        SEQUENCE,
        patched(Group, "reduce_scatter", first_piece),
    ),
    "pipeline: gradients are lost": (PIPELINE, patched(STAGE, "from_next", zero_from_next)),
    "pipeline: gradients are halved": (PIPELINE, patched(STAGE, "from_next", half_lost)),
    "ring: own keys again": (CONTEXT, patched(context, "_passed_on", kept)),
    "all-to-all: one piece twice": (ALL_TO_ALL, patched(Group, "all_to_all", no_all_to_all)),
    "optimizer: learns nothing": ({}, patched(torch.optim.AdamW, "step", no_optimizer)),
}
FOUR_BREAKAGES: Layouts = {
    "ring of four: the wrong way round": (
        {"context": 4},
        patched(context, "_passed_on", sent_backwards),
    ),
}


def whole(layouts: dict[str, dict[str, Any]]) -> Layouts:
    return {name: (changes, unbroken) for name, changes in layouts.items()}


def short(breakages: Layouts) -> Layouts:
    """A breakage shows in the first steps."""
    return {n: ({**changes, "stop_after": 3}, how) for n, (changes, how) in breakages.items()}


@cache
def one() -> dict[str, Any]:
    layouts: dict[str, dict[str, Any]] = {"one": {}, "unclipped": {"gradient_clip": 1e9}}
    layouts["short"] = {"stop_after": 3}
    return run_layouts(1, whole(layouts))


@cache
def two() -> dict[str, Any]:
    return run_layouts(2, {**whole(TWO), **short(BREAKAGES)})


@cache
def four() -> dict[str, Any]:
    return run_layouts(4, {**whole(FOUR), **short(FOUR_BREAKAGES)})


def numbers(found: dict[str, Any]) -> list[float]:
    if "error" in found:
        raise AssertionError(found["error"])
    return [*found["losses"], *found["norms"], found["held_out"]["loss"]]


def difference(found: dict[str, Any], expected: dict[str, Any]) -> float:
    pairs = zip(numbers(found), numbers(expected), strict=True)
    return max(abs(a - b) / abs(b) for a, b in pairs)


def demand_same(test: unittest.TestCase, found: dict[str, Any], layouts: dict[str, Any]) -> None:
    for name in layouts:
        with test.subTest(layout=name):
            test.assertLess(difference(found[name], one()["one"]), TOLERANCE)
            test.assertEqual(found[name]["held_out"]["held_out"], 3)


class Parity(unittest.TestCase):
    def test_two_processes_train_as_one(self) -> None:
        demand_same(self, two(), TWO)

    def test_four_processes_train_as_one(self) -> None:
        demand_same(self, four(), FOUR)

    def test_it_learns_and_clips(self) -> None:
        found = one()["one"]
        self.assertEqual(len(found["losses"]), STEPS)
        self.assertLess(found["losses"][-1], found["losses"][0] - 0.5)
        self.assertGreater(min(found["norms"]), CONFIGURATION.gradient_clip)
        self.assertGreater(difference(one()["unclipped"], found), BROKEN)


class Breakages(unittest.TestCase):
    def assert_differ(self, found: dict[str, Any], breakages: Layouts) -> None:
        for name in breakages:
            with self.subTest(breakage=name):
                broken = found[name]
                differs = "different weights" in broken.get("error", "")
                self.assertTrue(differs or difference(broken, one()["short"]) > BROKEN, broken)

    def test_every_axis_once_broken_does_not_train_as_one(self) -> None:
        self.assert_differ(two(), BREAKAGES)

    def test_a_ring_the_wrong_way_round_does_not_train_as_one(self) -> None:
        self.assert_differ(four(), FOUR_BREAKAGES)


class Messages(unittest.TestCase):
    def test_every_kind_of_collective_is_sent(self) -> None:
        sent = {name: set(found["sent"]) for name, found in two().items() if name in TWO}
        own = {
            "data": {"all_reduce", "broadcast"},
            "tensor": {"all_reduce"},
            "sequence": {"all_gather_single", "reduce_scatter_single"},
            "pipeline-1f1b": {"batch_isend_irecv"},
            "ring": {"batch_isend_irecv"},
            "all-to-all": {"all_to_all_single"},
        }
        for name, kinds in own.items():
            with self.subTest(layout=name):
                self.assertLessEqual(kinds, sent[name])


if __name__ == "__main__":
    unittest.main()
