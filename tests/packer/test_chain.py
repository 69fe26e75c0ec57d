"""Machine images that begin alike, baked as a chain."""

import json
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import layer_scan
import pytest
import tiny_tree
from tiny_tree import (
    CLEANUP,
    FAILING,
    MACHINE_BASE,
    SLEEPING,
    Finished,
    Tree,
    interrupt,
    processes,
    wait_for,
)

from bakehouse import engine
from bakehouse.machines.chain import Prefix

pytestmark = pytest.mark.docker

BASE = f"bakehouse/{MACHINE_BASE}:latest"


class Pair:
    """A tree of two machine images that begin with the same two roles.

    Those have names of their own, and so has the private image that is named after them.
    """

    def __init__(self, root: Path) -> None:
        number = uuid4().hex[:8]
        self.tree = tiny_tree.make(root, f"test-{number}-a", MACHINE_BASE)
        self.tree.roles.clear()
        self.shared = (f"one_{number}", f"two_{number}")
        for role in (*self.shared, "other"):
            self.tree.role(role)
        self.tree.roles[:] = [*self.shared, "last"]
        self.tree.others[f"test-{number}-b"] = [*self.shared, "other"]
        self.tree.write()
        self.other = replace(self.tree, image=f"test-{number}-b", roles=[*self.shared, "other"])

    @property
    def private(self) -> str:
        """Docker repository of the private image."""
        named = Prefix(images=(), start=MACHINE_BASE, roles=self.shared, key="", below=None)
        return f"bakehouse/{named.name}"

    def build(self, *options: str) -> Finished:
        """Build both."""
        return self.tree.build(self.other.image, "--chain", *options)

    def privates(self) -> list[Any]:
        """The private images that are there."""
        return list(engine.connect().images.list(self.private))

    def nameless(self) -> list[str]:
        """What bakes committed and did not name."""
        names = [self.private.partition("/")[2], self.tree.image, self.other.image]
        filters = [{"label": f"org.bakehouse.image={name}", "dangling": True} for name in names]
        return [str(f.id) for each in filters for f in engine.connect().images.list(filters=each)]

    def stamps(self) -> tuple[dict[str, str], dict[str, str]]:
        """When each role ran, of both images."""
        return self.tree.stamps(), self.other.stamps()

    def remove(self) -> None:
        """Remove what the builds made in docker."""
        self.tree.remove()
        self.other.remove()
        for found in self.privates():
            for name in found.tags:
                engine.connect().images.remove(name, force=True)


def _pair(root: Path, keep: bool) -> Iterator[Pair]:
    pair = Pair(root)
    yield pair
    if not keep:
        pair.remove()


@pytest.fixture
def pair(tmp_path: Path, machine_base: str, keep_artifacts: bool) -> Iterator[Pair]:
    """Two images, not baked yet."""
    assert engine.image(machine_base) is not None
    yield from _pair(tmp_path / "tree", keep_artifacts)


@pytest.fixture(scope="module")
def baked(
    machine_base: str, tmp_path_factory: pytest.TempPathFactory, keep_artifacts: bool
) -> Iterator[Pair]:
    """Two images, baked as a chain."""
    assert engine.image(machine_base) is not None
    for pair in _pair(tmp_path_factory.mktemp("chain") / "tree", keep_artifacts):
        finished = pair.build()
        assert finished.status == 0, finished.stderr
        yield pair


def layers(tree: Tree) -> dict[str, dict[str, Any]]:
    record = json.loads((tree.root / "out" / tree.image / "layers.json").read_text())
    return {layer["name"]: layer for layer in record["layers"]}


def test_what_two_images_begin_with_runs_once(baked: Pair) -> None:
    one, other = baked.stamps()
    assert set(one) == {*baked.shared, "last"}
    assert set(other) == {*baked.shared, "other"}
    assert {role: one[role] for role in baked.shared} == {r: other[r] for r in baked.shared}
    assert len(baked.privates()) == 1


def test_the_record_has_all_roles_and_the_times_of_those_that_ran_before(baked: Pair) -> None:
    for tree in (baked.tree, baked.other):
        found = layers(tree)
        assert list(found) == tree.roles
        assert [found[role]["cached"] for role in tree.roles] == [True, True, False]
        assert all(layer["built_seconds"] > 0 for layer in found.values())


def test_the_image_is_named_and_labelled_as_without_a_chain(baked: Pair) -> None:
    (private,) = baked.privates()
    found = engine.connect().images.get(baked.tree.reference)
    assert found.labels["org.bakehouse.image"] == baked.tree.image
    assert set(found.labels) == set(private.labels)
    assert private.labels["org.bakehouse.image"] == baked.private.partition("/")[2]
    assert baked.nameless() == []


def test_a_chain_changes_no_key(baked: Pair) -> None:
    before = baked.stamps()
    for tree in (baked.tree, baked.other):
        finished = baked.tree.build(image=tree.image)
        assert finished.status == 0, finished.stderr
        assert re.search(rf"{tree.image} \w+ unchanged", finished.stderr)
    finished = baked.build()
    for tree in (baked.tree, baked.other):
        assert re.search(rf"{tree.image} \w+ unchanged", finished.stderr)
    assert baked.stamps() == before


def test_a_change_in_the_last_role_bakes_only_that_role(baked: Pair) -> None:
    one, other = baked.stamps()
    baked.tree.role("last", "# another byte\n")
    assert baked.tree.plan()[baked.shared[0]]["cached"] is False
    planned = baked.build("--plan")
    assert "would be baked" not in planned.stdout
    finished = baked.build()
    assert finished.status == 0, finished.stderr
    changed, same = baked.stamps()
    assert same == other
    assert {role for role in changed if changed[role] != one[role]} == {"last"}


@pytest.mark.slow
def test_a_change_in_a_shared_role_bakes_all_anew(baked: Pair) -> None:
    one, other = baked.stamps()
    baked.tree.role(baked.shared[1], "# another byte\n")
    assert f"would be baked for {baked.tree.image}, {baked.other.image}: one_" in (
        baked.build("--plan").stdout
    )
    finished = baked.build()
    assert finished.status == 0, finished.stderr
    for before, after in zip((one, other), baked.stamps(), strict=True):
        assert {role for role in after if after[role] != before[role]} == set(after)
    assert baked.tree.stamps()[baked.shared[0]] == baked.other.stamps()[baked.shared[0]]


@pytest.mark.slow
def test_a_remaining_role_that_fails_leaves_no_name_and_the_private_image(pair: Pair) -> None:
    pair.tree.role("last", FAILING)
    finished = pair.build()
    assert finished.status == 5
    assert f"error: {pair.tree.image}, role last" in finished.stderr
    assert engine.image(pair.tree.reference) is None
    assert pair.nameless() == []
    (private,) = pair.privates()
    pair.tree.role("last")
    assert pair.build().status == 0
    assert [found.id for found in pair.privates()] == [private.id]


def test_an_interrupted_private_bake_leaves_nothing(pair: Pair) -> None:
    seconds = "8311"
    pair.tree.role(pair.shared[1], SLEEPING.format(seconds=seconds))
    process = pair.tree.start(pair.other.image, "--chain")
    wait_for(lambda: processes(seconds))
    interrupt(process, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    wait_for(lambda: not processes(seconds), 30)
    assert pair.privates() == pair.nameless() == []


@pytest.mark.slow
def test_what_must_not_ship_is_in_no_layer_of_a_chain(pair: Pair) -> None:
    caching = """\
- name: Leave a package list
  ansible.builtin.copy:
    dest: /var/lib/apt/lists/of-a-test
    content: ""
    mode: "0644"
"""
    cleaning = """\
- name: Remove what the shared role left
  ansible.builtin.file:
    path: /var/lib/apt/lists/of-a-test
    state: absent
"""
    pair.tree.role(pair.shared[0], caching)
    pair.tree.role(CLEANUP, cleaning)
    pair.tree.others[pair.other.image].append(CLEANUP)
    pair.tree.write()
    finished = pair.build()
    assert finished.status == 0, finished.stderr
    assert pair.privates()
    found = layer_scan.findings(pair.tree.reference, BASE)
    assert not [line for line in found if "of-a-test" in line]


def test_images_that_share_nothing_are_built_as_usual(pair: Pair) -> None:
    pair.tree.others[pair.other.image] = ["other"]
    pair.tree.write()
    finished = pair.build("--plan")
    assert finished.status == 0, finished.stderr
    assert "nothing to chain" in finished.stderr
    assert "would be baked" not in finished.stdout
