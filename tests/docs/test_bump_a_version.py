"""docs/bump-a-version.md, followed word by word."""

import json
import re
import shlex
from collections.abc import Callable

import pytest
from documented_steps import Copy

from bakehouse.builder import build_image
from bakehouse.layout import ROOT

PAGE = ROOT / "docs" / "bump-a-version.md"


@pytest.fixture
def copy(followed: Callable[[str], Copy]) -> Copy:
    return followed("bump-a-version.md")


def commands() -> list[list[str]]:
    """The commands of the page, without the program's name."""
    lines = re.findall(r"^bakehouse (.*)$", PAGE.read_text(), re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.docker
def test_the_commands_of_the_page_bump_one_component(copy: Copy) -> None:
    build_image("cpu-ddp")
    stack = copy.root / "stacks" / "cpu.yml"
    before = stack.read_text()
    dry, wet, check, plan = commands()
    done = copy.bakehouse(*dry)
    assert done.returncode == 0, done.stderr
    assert '+  version: "1.9.0"' in done.stdout
    assert stack.read_text() == before
    for command in (wet, check):
        done = copy.bakehouse(*command)
        assert done.returncode == 0, done.stderr
    assert 'version: "1.9.0"' in stack.read_text()
    done = copy.bakehouse(*plan, "--json")
    assert done.returncode == 0, done.stderr
    layers = {
        layer["name"]: layer for image in json.loads(done.stdout) for layer in image["layers"]
    }
    touched = {name for name, layer in layers.items() if not layer["cached"]}
    assert touched == {"image_info", "image_cleanup", "cpu-ddp"}
    assert all(layers[name]["why"] for name in touched)
