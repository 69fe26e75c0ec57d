"""What a chain saves: machine images that begin alike, baked with and without one.

    .venv/bin/python benchmarks/chain.py --write

Images are baked each on its own, then as a chain, by Packer in docker. All are `cpu-machine`
in a copy of the checkout, with one more role that only says which of them it is. Nothing of past
builds is used but downloads. Last, that role changes in one of them. `--write` puts the table into
docs/benchmarks.md.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import benchmarks_page
from build_times import BAKEHOUSE, copy_tree, timed

from bakehouse import engine, layout
from bakehouse.builder import wheelhouse
from bakehouse.machines.chain import Prefix
from bakehouse.stacks.stack import load_stack

START = "debian-12-machine"
SHARED = ["base", "packages", "docker", "python", "pytorch"]
FINISH = [
    "node_checks",
    "image_info",
    {"role": "image_cleanup", "tags": ["image_cleanup"]},
]
TASKS = """\
---
- name: Say which image this is
  ansible.builtin.copy:
    dest: /opt/{role}
    content: "{role}"
    mode: "0644"
"""
HOST_TEST = """\
def test_it_says_which_image_it_is(host, record_property):
    record_property("image", "{role}")
    assert host.file("/opt/{role}").exists
"""


@dataclass
class Seconds:
    """What each turn took, in seconds."""

    alone: list[float] = field(default_factory=list)
    chained: list[float] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)


def role_of(image: str) -> str:
    """The role that only this image has."""
    return image.replace("-", "_")


def write_images(tree: Path, images: Sequence[str]) -> None:
    """Put the images into a copy of the checkout."""
    entries = {}
    for image in images:
        role = role_of(image)
        tasks = tree / "roles" / role / "tasks" / "main.yml"
        tasks.parent.mkdir(parents=True)
        tasks.write_text(TASKS.format(role=role))
        (tree / "tests" / "host" / f"test_{role}.py").write_text(HOST_TEST.format(role=role))
        become = "{{ bakehouse_become | default(false) }}"
        play = {"name": "Bake", "hosts": "all", "gather_facts": False, "become": become}
        text = json.dumps([{**play, "roles": [*SHARED, role, *FINISH]}])
        (tree / "playbooks" / f"{image}.yml").write_text(text)
        entries[image] = {
            "kind": "machine",
            "parent": START,
            "playbook": image,
            "stack": "cpu",
            "checks": ["environment", "versions", "node", "hygiene"],
        }
    with (tree / "images.yml").open("a") as catalogue:
        for image, entry in entries.items():
            catalogue.write(f"  {image}: {json.dumps(entry)}\n")


def names(images: Sequence[str]) -> set[str]:
    """What docker has of the images here and of the private one."""
    private = Prefix(images=tuple(images), start=START, roles=tuple(SHARED), key="", below=None)
    found: set[str] = set()
    for name in (*images, private.name):
        for image in engine.connect().images.list(f"{layout.NAMESPACE}/{name}"):
            found.update(image.tags)
    return found


def take(tree: Path, images: Sequence[str], environment: Mapping[str, str], found: Seconds) -> None:
    """Bake all each way, once."""
    build = (*BAKEHOUSE, "build", *images)
    found.alone.append(timed((*build, "--no-cache"), environment))
    found.chained.append(timed((*build, "--chain", "--no-cache"), environment))
    tasks = tree / "roles" / role_of(images[-1]) / "tasks" / "main.yml"
    tasks.write_text(f"{tasks.read_text()}# turn {len(found.chained)}\n")
    found.changed.append(timed((*build, "--chain"), environment))


def measure(images: Sequence[str], repeat: int) -> Seconds:
    """Let both ways take turns, over a warm download cache."""
    timed((*BAKEHOUSE, "build", START))
    wheelhouse.prepare(load_stack("cpu"))
    found, before = Seconds(), names(images)
    with tempfile.TemporaryDirectory(prefix="bakehouse-benchmark-") as folder:
        tree = Path(folder) / "tree"
        copy_tree(tree)
        write_images(tree, images)
        environment = {
            "BAKEHOUSE_ROOT": str(tree),
            "BAKEHOUSE_STATE": str(layout.STATE),
            "BAKEHOUSE_OUT": str(Path(folder) / "out"),
        }
        try:
            for _ in range(repeat):
                take(tree, images, environment, found)
        finally:
            for name in names(images) - before:
                engine.connect().images.remove(name)
    return found


def table(found: Seconds, count: int, repeat: int) -> str:
    """The result as Markdown."""
    alone, chained, changed = (median(s) for s in (found.alone, found.chained, found.changed))
    ratio = median(c / a for c, a in zip(found.chained, found.alone, strict=True))
    again = median(c / a for c, a in zip(found.changed, found.alone, strict=True))
    roles = len(SHARED) + 1 + len(FINISH)
    rows = [
        (f"{count} images, each on its own", f"{alone:.0f} s", "1.00×"),
        (f"the same as a chain; {len(SHARED)} of {roles} roles are shared", f"{chained:.0f} s",
         f"{ratio:.2f}×"),
        ("a change in a role that only one of them has, the chain being there", f"{changed:.0f} s",
         f"{again:.2f}×"),
    ]  # fmt: skip
    command = f".venv/bin/python benchmarks/chain.py --images {count} --repeat {repeat} --write"
    what = "one turn" if repeat == 1 else f"medians of {repeat} turns"
    head = [benchmarks_page.measured(what, command), "", "| what | time | |", "|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def main() -> None:
    """Measure, print, and with --write rewrite the marked part of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    images = [f"benchmark-chain-{number}" for number in range(1, options.images + 1)]
    text = table(measure(images, options.repeat), options.images, options.repeat)
    print(text)
    if options.write:
        benchmarks_page.write("chain", text)


if __name__ == "__main__":
    main()
