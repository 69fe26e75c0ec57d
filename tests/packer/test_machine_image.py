"""Machine images, baked by Packer as users bake them."""

import json
import signal
import tempfile
from pathlib import Path

import layer_scan
import pytest
from tiny_tree import (
    FAILING,
    MACHINE_BASE,
    SLEEPING,
    TAKING_TWO_SECONDS,
    Tree,
    interrupt,
    processes,
    wait_for,
)

from bakehouse import engine, scratch
from bakehouse.builder import build_image

pytestmark = pytest.mark.docker

BASE = f"bakehouse/{MACHINE_BASE}:latest"
NOTIFYING = """\
- name: Have something done at the end
  ansible.builtin.command: "true"
  changed_when: true
  notify: Fail late
"""
HANDLER = """\
---
- name: Fail late
  ansible.builtin.command: cat /opt/no-such-file
  changed_when: true
"""


def containers(tree: Tree) -> list[str]:
    filters = {"name": f"bakehouse-packer-{tree.image}"}
    return [str(c.name) for c in engine.connect().containers.list(all=True, filters=filters)]


def images(tree: Tree) -> list[str]:
    return [str(found.id) for found in engine.connect().images.list(f"bakehouse/{tree.image}")]


def nameless(tree: Tree) -> list[str]:
    filters = {"label": f"org.bakehouse.image={tree.image}", "dangling": True}
    return [str(found.id) for found in engine.connect().images.list(filters=filters)]


def temporary_files() -> set[Path]:
    """What bakes leave where temporary files go; Packer's include a private key."""
    patterns = ("bakehouse-packer-*", "ansible-key*")
    return {path for pattern in patterns for path in Path(tempfile.gettempdir()).glob(pattern)}


def test_every_role_has_run_in_the_image(baked_tree: Tree) -> None:
    assert set(baked_tree.stamps()) == {"one", "two", "last"}


def test_the_image_boots_and_says_what_it_is(baked_tree: Tree) -> None:
    found = engine.connect().images.get(baked_tree.reference)
    assert found.attrs["Config"]["Cmd"] == ["/lib/systemd/systemd"]
    record = json.loads(
        (baked_tree.root / "out" / baked_tree.image / "layers.json").read_text(encoding="utf-8")
    )
    assert found.labels["org.bakehouse.build"] == record["key"]
    assert found.labels["org.bakehouse.image"] == baked_tree.image
    assert found.labels["org.bakehouse.stack"].startswith("tiny@sha256:")


def test_the_record_has_the_time_and_the_tasks_of_each_role(baked_tree: Tree) -> None:
    baked_tree.variables["last_text"] = "for the record"
    baked_tree.write()
    layers = {layer["name"]: layer for layer in baked_tree.build("--json").results[-1]["layers"]}
    assert list(layers) == ["one", "two", "last"]
    assert all(layer["seconds"] > 0 for layer in layers.values())
    assert layers["last"]["tasks"][-1]["name"] == "Leave a stamp"
    assert baked_tree.stamps()["last"].endswith("for the record")


def test_an_unchanged_image_is_not_baked_again(baked_tree: Tree) -> None:
    before, stamps = images(baked_tree), baked_tree.stamps()
    finished = baked_tree.build()
    assert finished.status == 0, finished.stderr
    assert "unchanged" in finished.stderr
    assert (images(baked_tree), baked_tree.stamps()) == (before, stamps)


def test_plan_says_why_an_image_must_be_baked_and_bakes_nothing(baked_tree: Tree) -> None:
    stamps = baked_tree.stamps()
    path = baked_tree.root / "roles" / "two" / "tasks" / "main.yml"
    text = path.read_text()
    path.write_text(f"{text}# another byte\n")
    why = baked_tree.plan()["one"]["why"]
    path.write_text(text)
    assert why == "roles/two/tasks/main.yml changed"
    assert baked_tree.stamps() == stamps


def test_nothing_of_the_host_is_in_the_image(baked_tree: Tree) -> None:
    secret = "hunter2-of-the-index"
    found = layer_scan.findings(baked_tree.reference, BASE, [secret])
    assert [line for line in found if "a secret" in line] == []
    assert secret not in layer_scan.configuration(baked_tree.reference)
    assert not any(baked_tree.state.joinpath("host").iterdir())


def test_a_role_that_fails_is_named_and_leaves_neither_container_nor_image(tree: Tree) -> None:
    tree.role("two", FAILING)
    finished = tree.build()
    assert finished.status == 5
    said = finished.stderr[finished.stderr.index("error:") :]
    assert f"error: {tree.image}, role two" in said
    assert "two : Fetch what is not there" in said
    assert "/opt/other-half: No such file or directory" in said
    assert "packer.log" in said
    assert containers(tree) == []
    assert images(tree) == nameless(tree) == []


def test_a_handler_that_fails_is_told_as_the_handler(tree: Tree) -> None:
    tree.role("last", NOTIFYING)
    handlers = tree.root / "roles" / "last" / "handlers" / "main.yml"
    handlers.parent.mkdir()
    handlers.write_text(HANDLER)
    finished = tree.build()
    assert finished.status == 5
    assert "task: last : Fail late" in finished.stderr
    assert images(tree) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_bake_leaves_neither_container_nor_name_nor_file(
    tree: Tree, number: signal.Signals
) -> None:
    seconds = str(8200 + number)
    before = temporary_files()
    tree.role("two", SLEEPING.format(seconds=seconds))
    process = tree.start()
    wait_for(lambda: processes(seconds))
    assert len(containers(tree)) == 1
    interrupt(process, number)
    process.communicate(timeout=60)
    if number is not signal.SIGKILL:
        assert process.returncode == 130
    wait_for(lambda: not containers(tree), 30)
    wait_for(lambda: not processes(seconds), 30)
    if number is signal.SIGKILL:
        scratch.sweep()  # which the next bake begins with
    assert temporary_files() <= before
    assert images(tree) == nameless(tree) == []


def test_nothing_of_the_bake_is_in_the_real_machine_image() -> None:
    build_image("cpu-machine")
    assert layer_scan.findings("bakehouse/cpu-machine:latest", BASE) == []


def test_each_task_has_its_own_time(tree: Tree) -> None:
    tree.role("last", TAKING_TWO_SECONDS)
    layers = {layer["name"]: layer for layer in tree.build("--json").results[-1]["layers"]}
    seconds = {task["name"]: task["seconds"] for task in layers["last"]["tasks"]}
    assert seconds["Take two seconds"] >= 2
    assert seconds["Take none"] < seconds["Take two seconds"]
