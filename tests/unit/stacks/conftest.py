"""Stacks that tests may spoil."""

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import stack_tree
from module_runs import RunHere
from stack_tree import StackTree

from bakehouse import cli, console, layout
from bakehouse.stacks import schema


@dataclass(frozen=True)
class InProcess(StackTree):
    """Runs the command line in this process: a new one costs half a second for each test."""

    monkeypatch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `bakehouse` on the tree; what no user should meet is raised."""
        self.capture.readouterr()
        self.monkeypatch.setattr(sys, "argv", ["bakehouse", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = self.capture.readouterr()
        status = ended.value.code
        assert isinstance(status, int)
        return subprocess.CompletedProcess(arguments, status, shown.out, shown.err)


@pytest.fixture
def tree(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> StackTree:
    """A copy of the stacks, and the command line on it."""
    stack_tree.make(tmp_path)
    places = {"STACKS": "stacks", "ROLES": "roles", "PLAYBOOKS": "playbooks"}
    places |= {"CONTAINERS": "containers", "IMAGES_FILE": "images.yml", "OUT": "out"}
    for name, place in {**places, "ROOT": ""}.items():
        monkeypatch.setattr(layout, name, tmp_path / place)
    # What all trees have in common is parsed once.
    monkeypatch.setattr(layout, "STATE", tmp_path_factory.getbasetemp() / "state")
    monkeypatch.setattr(schema, "SCHEMAS", tmp_path / "schemas")
    monkeypatch.setattr(console.results, "_width", 200)
    monkeypatch.delenv("BAKEHOUSE_TRACEBACK", raising=False)
    return InProcess(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="session")
def imported() -> Callable[[str], ModuleType]:
    """Import a file of the role fetch as it stands: Ansible's plugins are in no package."""
    # Where Ansible looks for what modules share, once the role is loaded.
    importlib.import_module("ansible.module_utils").__path__.append(
        str(layout.ROLES / "fetch" / "module_utils")
    )

    def load(name: str) -> ModuleType:
        path = layout.ROLES / "fetch" / name
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    return load


@pytest.fixture(scope="session")
def module(imported: Callable[[str], ModuleType]) -> ModuleType:
    """The module that downloads."""
    return imported("library/verified_download.py")


@pytest.fixture
def run_here(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Run the module in this process as Ansible does in its own: exit status and result."""
    testing = importlib.import_module("ansible.module_utils.testing")  # it has no types

    def run(**arguments: Any) -> tuple[int, dict[str, Any]]:
        with testing.patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            module.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, json.loads(capsys.readouterr().out)

    return run
