"""A machine with nothing on it."""

from pathlib import Path

import pytest
from stand_in_machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with nothing on it."""
    return Machine(root=str(tmp_path), environment={}, budget_s=1.0)
