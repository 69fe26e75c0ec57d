"""Runs unittest files of in_container/ inside an image, which has no pytest; reports each test."""

import ast
import json
from collections.abc import Mapping
from pathlib import Path

from bakehouse import engine

INSIDE = Path(__file__).parent / "in_container"
MARK = "VERDICTS "
"""What verdicts.py begins its last line with."""


def names_of(module: str) -> list[str]:
    """`Group.test_name` of all tests of a file of in_container/."""
    return [
        f"{group.name}.{test.name}"
        for group in ast.parse((INSIDE / f"{module}.py").read_text()).body
        if isinstance(group, ast.ClassDef)
        for test in group.body
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
    ]


def output_of(
    image: str,
    module: str,
    python_path: str,
    *,
    mounts: Mapping[Path, str] | None = None,
    timeout_s: int = 300,
) -> str:
    """What unittest says about all tests of a file.

    Args:
        image: Docker reference.
        module: The file's name without ending.
        python_path: Where what it tests lies in the image.
        mounts: Folders of this machine, and where the image sees them.
        timeout_s: Seconds that all of them may take.
    """
    folders = {INSIDE: "/tests", **(mounts or {})}
    with engine.running_container(
        image,
        ["python3", "/tests/verdicts.py", module],
        environment={
            "PYTHONPATH": f"{python_path}:/tests",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        },
        volumes={str(path): {"bind": place, "mode": "ro"} for path, place in folders.items()},
    ) as container:
        container.wait(timeout=timeout_s)
        return container.logs().decode()


def demand_ok(module: str, name: str, output: str) -> None:
    """Assert that a test has passed, or show what unittest said."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    verdicts = json.loads(lines[-1].removeprefix(MARK)) if lines else {}
    verdict = verdicts.get(name, "never run")
    assert verdict == "ok", f"{module}.{name}: {verdict}\n{output}"
