"""Trees of tiny roles whose image is a machine's."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import tiny_tree
from tiny_tree import Tree

from bakehouse import engine
from bakehouse.builder import build_image


@pytest.fixture(scope="session")
def machine_base() -> str:
    """The distribution's image with systemd; made where it is missing."""
    build_image(tiny_tree.MACHINE_BASE)
    return f"bakehouse/{tiny_tree.MACHINE_BASE}:latest"


def _tree(root: Path, keep: bool) -> Iterator[Tree]:
    tree = tiny_tree.make(root, f"test-{uuid4().hex[:10]}", tiny_tree.MACHINE_BASE)
    yield tree
    if not keep:
        tree.remove()


@pytest.fixture
def tree(tmp_path: Path, machine_base: str, keep_artifacts: bool) -> Iterator[Tree]:
    """A tree of three roles, not baked yet."""
    assert engine.image(machine_base) is not None
    yield from _tree(tmp_path / "tree", keep_artifacts)


@pytest.fixture(scope="module")
def baked_tree(
    machine_base: str, tmp_path_factory: pytest.TempPathFactory, keep_artifacts: bool
) -> Iterator[Tree]:
    """A tree of three roles, baked once on a host that lends a private index."""
    assert engine.image(machine_base) is not None
    for tree in _tree(tmp_path_factory.mktemp("baked") / "tree", keep_artifacts):
        tree.environment = {"PIP_INDEX_URL": "http://somebody:hunter2-of-the-index@127.0.0.1:9/"}
        finished = tree.build()
        assert finished.status == 0, finished.stderr
        yield tree
