"""Copies of the repository in which the steps of how-to pages are done."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import documented_steps
import pytest
from documented_steps import Copy

from bakehouse.layout import ROOT


@pytest.fixture(scope="session")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Copy]:
    """Follow a page of docs/ in a new copy."""

    def follow(page: str) -> Copy:
        root = tmp_path_factory.mktemp(page.removesuffix(".md")) / "repository"
        documented_steps.copy_repository(root)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "BAKEHOUSE_ROOT": str(root),
            "BAKEHOUSE_STATE": str(root / ".bakehouse"),
            "BAKEHOUSE_OUT": str(root / "out"),
            "PYTHONPATH": str(root),
        }
        touched = documented_steps.follow(ROOT / "docs" / page, root, environment)
        return Copy(root=root, touched=touched, environment=environment)

    return follow
