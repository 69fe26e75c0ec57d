"""Machine images, baked by Packer as users bake them."""

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import layer_scan
import pytest
from tiny_tree import (
    CLEANUP,
    FAILING,
    MACHINE_BASE,
    SLEEPING,
    STAMPS,
    TAKING_TWO_SECONDS,
    WRITING_30_MB,
    Tree,
    interrupt,
    processes,
    wait_for,
)

from bakehouse import engine, scratch
from bakehouse.builder import build_image
from bakehouse.machines import packer, template

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
DIRTY = """\
- name: Leave something
  ansible.builtin.file:
    path: /opt/left
    state: directory
    mode: "0755"

- name: Install checks that find it
  ansible.builtin.copy:
    dest: /usr/local/bin/bakehouse-check
    mode: "0755"
    content: |
      #!/usr/bin/python3
      import json, os, sys
      status = "fail" if os.path.exists("/opt/left") else "pass"
      assert sys.argv[1:] == ["--group", "hygiene", "--json", "-"]
      print(json.dumps({"results": [{
          "id": "nothing-left", "group": "hygiene", "title": "Nothing is left", "status": status,
          "measured": None, "expected": None, "source": "", "reason": "/opt/left is there",
          "remedy": "remove it", "seconds": 0.0}]}))
      sys.exit(status == "fail")
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


def test_a_bake_leaves_an_sbom_of_what_was_judged(baked_tree: Tree) -> None:
    folder = baked_tree.root / "out" / baked_tree.image
    found = json.loads((folder / "build.cdx.json").read_text(encoding="utf-8"))
    assert {"systemd", "python3"} <= {component["name"] for component in found["components"]}
    assert (folder / "stack.yml").is_file()
    assert (folder / "packer-manifest.json").is_file()


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


@pytest.fixture
def named(baked_tree: Tree) -> Iterator[Tree]:
    """A tree whose image has its name, and which is again as it was when the test is over."""
    roles = list(baked_tree.roles)
    yield baked_tree
    baked_tree.roles[:] = roles
    baked_tree.entry.clear()
    for role in roles:
        baked_tree.role(role)


def refused(tree: Tree) -> str:
    """What a build says that ends with a judgement; who has the name must be who had it before."""
    before = engine.image(tree.reference), images(tree)
    finished = tree.build("--no-cache")
    assert finished.status == 5, finished.stderr
    assert (engine.image(tree.reference), images(tree)) == before
    assert nameless(tree) == containers(tree) == []
    said = finished.stderr[finished.stderr.index("error:") :]
    assert f"error: {tree.image}: the machine was judged, and there is no image" in said
    assert str(judged(tree)) in said
    return said


def judged(tree: Tree) -> Path:
    return tree.root / "out" / tree.image / "judged.json"


def test_what_was_judged_is_kept(baked_tree: Tree) -> None:
    found = json.loads(judged(baked_tree).read_text(encoding="utf-8"))
    statuses = {result["id"]: result["status"] for result in found["results"]}
    assert statuses == dict.fromkeys(
        ("one-test_stamp", "two-test_stamp", "last-test_stamp"), "pass"
    )
    assert "systemd" in {package["name"] for package in found["inventory"]["packages"]}
    assert 1e8 < found["used_bytes"] < 1e9


def test_a_failing_host_test_makes_no_image(named: Tree) -> None:
    named.host_test("two", "host.file('/opt/never').exists")
    said = refused(named)
    assert "1 of 3 checks failed" in said
    assert "two-test_stamp: AssertionError" in said
    assert "remedy: look at the role two" in said
    found = json.loads(judged(named).read_text(encoding="utf-8"))
    assert [r["status"] for r in found["results"] if r["id"] == "two-test_stamp"] == ["fail"]


def test_the_image_is_looked_at_before_its_first_boot(named: Tree) -> None:
    named.role(CLEANUP)
    named.host_test(CLEANUP, "not host.file('/run/systemd/system').exists")
    finished = named.build("--json")
    assert finished.status == 0, finished.stderr
    layers = {layer["name"]: layer for layer in finished.results[-1]["layers"]}
    assert list(layers) == ["one", "two", "last", CLEANUP]
    assert all(layer["seconds"] > 0 for layer in layers.values())
    assert layers[CLEANUP]["tasks"][-1]["name"] == "Leave a stamp"
    named.host_test(CLEANUP, "host.file('/run/systemd/system').exists")
    assert f"{CLEANUP}-test_stamp: AssertionError" in refused(named)


def test_image_cleanup_comes_after_the_judge(named: Tree) -> None:
    named.role(CLEANUP)
    named.host_test("last", f"not host.file('{STAMPS}/{CLEANUP}').exists")
    finished = named.build()
    assert finished.status == 0, finished.stderr
    assert set(named.stamps()) == {"one", "two", "last", CLEANUP}


def test_what_must_not_ship_makes_no_image(named: Tree) -> None:
    named.role("two", DIRTY)
    named.entry["checks"] = ["hygiene"]
    named.write()
    said = refused(named)
    assert "1 of 4 checks failed" in said
    assert "nothing-left: /opt/left is there\n  remedy: remove it" in said


def test_checks_that_the_image_does_not_have_make_no_image(named: Tree) -> None:
    named.entry["checks"] = ["environment"]
    named.write()
    assert "checks-run: status 126" in refused(named)  # docker's, where a program is missing


def test_a_budget_that_is_exceeded_makes_no_image(named: Tree) -> None:
    named.entry["budget"] = {"minutes": 0.01, "gb": 0.02}
    named.role("two", WRITING_30_MB + TAKING_TWO_SECONDS)
    said = refused(named)
    assert re.search(r"size-budget: \d+\.\d+ GB, at most 0\.02 GB\n  remedy: .*images\.yml", said)
    assert re.search(r"time-budget: \d+\.\d+ minutes, at most 0\.01", said)
    assert re.search(r"most was written by: two 3[0-3] MB", said)
    assert re.search(r"most time was taken by: two \d", said)


def test_a_bake_within_its_budget_says_so(named: Tree) -> None:
    named.entry["budget"] = {"minutes": 30, "gb": 4}
    named.write()
    finished = named.build("--no-cache")
    assert finished.status == 0, finished.stderr
    found = json.loads(judged(named).read_text(encoding="utf-8"))
    statuses = {result["id"]: result["status"] for result in found["results"]}
    assert (statuses["size-budget"], statuses["time-budget"]) == ("pass", "pass")


def test_what_a_role_wrote_is_its_own(named: Tree) -> None:
    named.role("two", WRITING_30_MB)
    sizes = {layer["name"]: layer["bytes"] for layer in named.build("--json").results[-1]["layers"]}
    assert 30e6 < sizes["two"] < 33e6
    # On a busy machine Packer's lines come late, and a first file counts for the role before.
    assert 0 < sizes["one"] + sizes["last"] < 4e6


def test_plain_packer_names_what_it_makes_and_runs_every_role_once(
    tree: Tree, tmp_path: Path
) -> None:
    tree.role(CLEANUP)
    folder = template.readable(tree.root / "state" / "template", template.installed())
    given = {"root": tree.root, "image": tree.image, "cgroup_mount": engine.cgroup_mount()}
    options = [part for name, text in given.items() for part in ("-var", f"{name}={text}")]
    done = subprocess.run(
        ["packer", "build", "-color=false", "-only=*.docker.*", *options, str(folder)],
        env={**os.environ, **tree.places(), **packer.environment(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PLAY RECAP") == 1
    assert set(tree.stamps()) == {"one", "two", "last", CLEANUP}
