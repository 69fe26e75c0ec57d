"""train.py's parts, tested inside the image; each test of check_train.py reports by its name."""

import ast
import re
from pathlib import Path

import pytest

from bakehouse import engine

INSIDE = Path(__file__).parent / "in_container"
TESTS = [
    f"{group.name}.{test.name}"
    for group in ast.parse((INSIDE / "check_train.py").read_text()).body
    if isinstance(group, ast.ClassDef)
    for test in group.body
    if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
]

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def output(case_image: str) -> str:
    """What unittest says about all of them."""
    with engine.running_container(
        case_image,
        ["python3", "-m", "unittest", "-v", "check_train"],
        environment={
            "PYTHONPATH": "/opt/cpu-ddp:/tests",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        },
        volumes={str(INSIDE): {"bind": "/tests", "mode": "ro"}},
    ) as container:
        container.wait(timeout=120)
        return container.logs().decode()


@pytest.mark.parametrize("name", TESTS)
def test_inside_the_image(name: str, output: str) -> None:
    group, test = name.split(".")
    line = rf"^{test} \(check_train\.{group}[^)]*\)[^\n]*\.\.\. (\w+)$"
    verdict = re.search(line, output, re.MULTILINE)
    assert verdict is not None, output
    assert verdict[1] == "ok", output
