"""Stacks that tests may spoil."""

from pathlib import Path

import pytest
import stack_tree
from stack_tree import StackTree


@pytest.fixture
def tree(tmp_path: Path) -> StackTree:
    """A copy of the stacks, and the command line on it."""
    return stack_tree.make(tmp_path)
