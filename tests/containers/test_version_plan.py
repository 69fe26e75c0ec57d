"""One line of a stack is changed: the plan names the images and layers that this touches, only."""

import json
import os
from pathlib import Path

import pytest
from documented_steps import Copy, copy_repository

from bakehouse.playbooks import load_playbook

pytestmark = pytest.mark.docker

IMAGES = ("cpu", "cpu-ddp", "cpu-machine", "gpu")
Keys = dict[tuple[str, str], str]


def keys(copy: Copy) -> Keys:
    """Each layer's key by image and layer, of all images that a plan speaks of."""
    planned = copy.bakehouse("build", *IMAGES, "--plan", "--json")
    assert planned.returncode == 0, planned.stderr
    images = json.loads(planned.stdout)
    return {
        (image["image"], layer["name"]): layer["key"]
        for image in images
        for layer in image["layers"]
    }


@pytest.mark.parametrize(
    ("stack", "image", "record", "version", "lowest"),
    [
        ("cpu", "cpu", "python_release", "3.12", "python"),
        # In a container the role docker has no part; the identity file names every version.
        ("cpu", "cpu", "docker_release", "20.10.25", "image_info"),
        ("gpu-wheels", "gpu", "python_release", "3.12", "python"),
    ],
)
def test_one_line_touches_one_layer_and_what_lies_above(
    tmp_path: Path, stack: str, image: str, record: str, version: str, lowest: str
) -> None:
    copy = Copy(root=tmp_path / "tree", touched=[], environment=dict(os.environ))
    copy_repository(copy.root)
    before = keys(copy)
    change_version(copy.root / "stacks" / f"{stack}.yml", record, version)
    after = keys(copy)
    roles = load_playbook(image).roles
    touched = {(image, name) for name in roles[roles.index(lowest) :]}
    if stack == "cpu":
        touched.add(("cpu-ddp", "cpu-ddp"))
        # A machine image is baked as a whole.
        touched |= {("cpu-machine", name) for name in roles}
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == touched


def change_version(stack: Path, record: str, version: str) -> None:
    """Write another version on the one line of a record that has it."""
    lines = stack.read_text().splitlines(keepends=True)
    at = lines.index(f"{record}:\n") + 1
    assert lines[at].startswith('  version: "')
    lines[at] = f'  version: "{version}"\n'
    stack.write_text("".join(lines))
