"""The modules of a test case, imported here without its framework."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bakehouse import layout


@contextmanager
def case_modules(case: str, *names: str) -> Iterator[SimpleNamespace]:
    """A case's own modules and `records`; other cases have some of the same names.

    Args:
        case: Its name.
        names: Of the modules.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in _imported(names):
            patch.delitem(sys.modules, name)
        for folder in (layout.SHARED, layout.CONTAINERS / case):
            patch.syspath_prepend(str(folder))
        modules = {name: _module(name) for name in names}
        yield SimpleNamespace(records=_module("training.records"), **modules)
        for name in _imported(names):
            del sys.modules[name]


def _imported(names: tuple[str, ...]) -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] in ("training", *names)]


def _module(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


def demand_refused(
    modules: SimpleNamespace, configuration: Path, changes: dict[str, Any], told: str, folder: Path
) -> None:
    """Assert that a changed configuration is refused, and how.

    Args:
        modules: As `case_modules` gives them.
        configuration: The file that is right.
        changes: What is wrong in its copy.
        told: Part of the message.
        folder: For the copy.
    """
    path = folder / "x.json"
    path.write_text(json.dumps(json.loads(configuration.read_text()) | changes))
    with pytest.raises(modules.records.Stop) as caught:
        modules.configuration.load(path)
    assert caught.value.status == 2
    assert told in caught.value.message
