"""Trees of tiny roles, each with images of its own name."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import tiny_tree
from tiny_tree import Tree

from bakehouse import engine
from bakehouse.builder import build_image


@pytest.fixture(scope="session")
def base_image() -> str:
    """The distribution's image; made where it is missing."""
    build_image(tiny_tree.BASE)
    return f"bakehouse/{tiny_tree.BASE}:latest"


def _tree(root: Path, request: pytest.FixtureRequest) -> Iterator[Tree]:
    tree = tiny_tree.make(root, f"test-{uuid4().hex[:10]}")
    yield tree
    if not request.getfixturevalue("keep_artifacts"):
        tree.remove()


@pytest.fixture
def tree(tmp_path: Path, base_image: str, request: pytest.FixtureRequest) -> Iterator[Tree]:
    """A tree of three roles, not built yet."""
    assert engine.image(base_image) is not None
    yield from _tree(tmp_path / "tree", request)


@pytest.fixture(scope="module")
def built_tree(
    base_image: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Tree]:
    """A tree of three roles, built once for a module's tests, which change it one after another."""
    assert engine.image(base_image) is not None
    for tree in _tree(tmp_path_factory.mktemp("built") / "tree", request):
        finished = tree.build()
        assert finished.status == 0, finished.stderr
        yield tree
