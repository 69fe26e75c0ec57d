"""Builds that fail, are stopped, or meet each other."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from left_behind import containers
from tiny_tree import FAILING, SLEEPING, Tree, interrupt, leftovers, processes, wait_for

from bakehouse import engine

pytestmark = pytest.mark.docker

FAILING_HALF_WAY = f"""\
- name: Write half of something
  ansible.builtin.copy:
    content: half
    dest: /opt/half
    mode: "0644"

{FAILING}"""
FILLING = """\
- name: Write more than there is room for
  ansible.builtin.command: dd if=/dev/zero of=/dev/shm/large bs=1M count=2000
  changed_when: true
"""


def images(tree: Tree) -> list[str]:
    return [str(found) for found in engine.connect().images.list(f"bakehouse/{tree.image}")]


def test_a_role_that_fails_half_way_is_told_briefly_and_leaves_nothing(tree: Tree) -> None:
    tree.role("two", FAILING_HALF_WAY)
    before = containers()
    finished = tree.build()
    assert finished.status == 5
    said = finished.stderr[finished.stderr.index("error:") :]
    assert f"error: {tree.image}, layer two" in said
    assert "two : Fetch what is not there" in said
    assert "at: roles/two/tasks/main.yml" in said
    assert "/opt/other-half: No such file or directory" in said
    assert "remedy:" in said
    assert len(said.splitlines()) < 12
    assert images(tree) == []
    assert list(leftovers(tree)) == []
    assert containers() <= before


def test_the_next_build_resumes_from_the_last_good_layer(tree: Tree) -> None:
    tree.role("two", FAILING_HALF_WAY)
    assert tree.build().status == 5
    assert tree.plan()["one"]["cached"]
    tree.role("two")
    finished = tree.build()
    assert finished.status == 0, finished.stderr
    assert tree.ran() == ["two", "last"]


def test_a_failed_build_leaves_the_earlier_image_its_name(tree: Tree) -> None:
    assert tree.build().status == 0
    before = images(tree)
    tree.role("last", FAILING_HALF_WAY)
    assert tree.build().status == 5
    assert images(tree) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_build_stops_at_once_and_leaves_no_name(
    tree: Tree, number: signal.Signals
) -> None:
    seconds = str(7200 + number)
    tree.role("two", SLEEPING.format(seconds=seconds))
    before = containers()
    process = tree.start()
    wait_for(lambda: processes(seconds))
    interrupt(process, number)
    _, said = process.communicate(timeout=30)
    wait_for(lambda: not processes(seconds), 30)
    if number is not signal.SIGKILL:
        assert process.returncode == 130
        assert "interrupted: no image was named" in said
        assert list(leftovers(tree)) == []
    assert images(tree) == []
    assert containers() <= before

    tree.role("two")
    finished = tree.build()
    assert finished.status == 0, finished.stderr
    assert tree.ran() == ["two", "last"], "the first layer was kept"
    assert list(leftovers(tree)) == [], "the next build takes away what a killed one left"


def test_of_two_builds_at_once_one_builds_and_one_waits(tree: Tree) -> None:
    both = [tree.start("--json"), tree.start("--json")]
    ended = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    cached = [[layer["cached"] for layer in json.loads(out)[-1]["layers"]] for out, _ in ended]
    assert sorted(cached) == [[False] * 3, [True] * 3]
    assert sum("waiting for it" in said for _, said in ended) == 1
    assert {json.loads(out)[-1]["image_id"] for out, _ in ended} == {
        str(engine.connect().images.get(tree.reference).id)
    }


def test_a_full_disk_in_a_layer_is_told_as_such(tree: Tree) -> None:
    """/dev/shm of a build is a file system of 64 MB."""
    tree.role("two", FILLING)
    finished = tree.build()
    assert finished.status == 3
    assert "the disk is full" in finished.stderr
    assert "layer two" in finished.stderr
    assert "docker system df" in finished.stderr
    assert images(tree) == []


@pytest.fixture
def small_disk(tree: Tree) -> Iterator[Path]:
    """The tree's folder of caches on a file system of its own, too small for a build context."""
    context = tree.state / "context"
    context.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(context)]
    mounted = subprocess.run(mounting, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield context
    subprocess.run(["umount", str(context)], check=True)


def test_a_full_disk_for_the_context_leaves_no_half_context(tree: Tree, small_disk: Path) -> None:
    finished = tree.build()
    assert finished.status == 3
    assert "the disk is full" in finished.stderr
    assert list(small_disk.iterdir()) == []
    assert images(tree) == []


def test_an_engine_that_does_not_run_is_told_with_what_to_do(tree: Tree) -> None:
    tree.environment["DOCKER_HOST"] = f"unix://{tree.root}/nobody.sock"
    finished = tree.build()
    assert finished.status == 3
    assert "no Docker engine answers" in finished.stderr
    assert "make setup" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_older_builds_keep_their_names_for_a_while(tree: Tree) -> None:
    builds = []
    for text in ("a", "b", "c", "d"):
        tree.variables["last_text"] = text
        tree.write()
        builds.append(tree.build("--json").results[-1]["build"])
    tags = {
        name.rpartition(":")[2]
        for found in engine.connect().images.list(f"bakehouse/{tree.image}")
        for name in found.tags
        if name.startswith(f"bakehouse/{tree.image}:")
    }
    assert tags == {"latest", *builds[1:]}


def test_plan_touches_nothing(tree: Tree) -> None:
    planned = tree.plan()
    assert {layer["why"] for layer in planned.values()} == {"never built here"}
    made = {path.name for path in tree.state.iterdir()}
    assert made <= {"wheelhouse", "documents"}, "only what was there, and parsed documents"
    assert not (tree.root / "out").exists()
    assert images(tree) == []


def test_a_wrong_name_says_which_was_meant(tree: Tree) -> None:
    finished = tree.build(image=f"{tree.image}x")
    assert finished.status == 2
    assert f"did you mean {tree.image}?" in finished.stderr
