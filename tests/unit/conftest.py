"""What several unit tests share."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.fixture
def session(pytester: pytest.Pytester, pytestconfig: pytest.Config) -> pytest.Pytester:
    """A session of its own, with the conftest.py of our tests and what that imports."""
    pytester.makeconftest(CONFTEST.read_text())
    markers = "markers =\n    docker: as ours\n    slow: as ours\n"
    pythonpath = " ".join(str(folder) for folder in pytestconfig.getini("pythonpath"))
    pytester.makeini(f"[pytest]\npythonpath = {pythonpath}\n{markers}")
    return pytester
