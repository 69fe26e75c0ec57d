"""Exactly what changed runs: judged by stamps that roles leave, not by what the builder says."""

import json
import os
from collections.abc import Callable

import pytest
from tiny_tree import TAKING_TWO_SECONDS, Tree, forget_builds_of

from bakehouse import engine

pytestmark = pytest.mark.docker


@pytest.fixture
def rebuilt(built_tree: Tree) -> Callable[..., list[str]]:
    """Build again and return the roles whose stamps are new."""

    def rebuild(*options: str) -> list[str]:
        before = built_tree.stamps()
        finished = built_tree.build(*options)
        assert finished.status == 0, finished.stderr
        after = built_tree.stamps()
        return [role for role in after if after[role] != before.get(role)]

    return rebuild


def test_a_variable_of_the_last_role_runs_only_that_layer(
    built_tree: Tree, rebuilt: Callable[..., list[str]]
) -> None:
    built_tree.variables["last_text"] = "something else"
    built_tree.write()
    planned = built_tree.plan()
    assert [name for name, layer in planned.items() if not layer["cached"]] == ["last"]
    assert planned["last"]["why"] == "variable last_text is new"
    assert rebuilt() == ["last"]
    assert built_tree.ran() == ["last"]
    assert built_tree.stamps()["last"].endswith("something else")


def test_a_file_of_a_role_runs_it_and_what_lies_above(
    built_tree: Tree, rebuilt: Callable[..., list[str]]
) -> None:
    path = built_tree.root / "roles" / "two" / "tasks" / "main.yml"
    path.write_text(f"{path.read_text()}# another byte\n")
    planned = built_tree.plan()
    assert planned["one"]["cached"]
    assert planned["two"]["why"] == "roles/two/tasks/main.yml changed"
    assert planned["last"]["why"] == "a layer below changed"
    assert sorted(rebuilt()) == ["last", "two"]


def test_going_back_to_an_earlier_state_runs_nothing(
    built_tree: Tree, rebuilt: Callable[..., list[str]]
) -> None:
    built_tree.variables["two_text"] = "for a moment"
    built_tree.write()
    assert sorted(rebuilt()) == ["last", "two"]
    del built_tree.variables["two_text"]
    built_tree.write()
    assert all(layer["cached"] for layer in built_tree.plan().values())
    finished = built_tree.build("--json")
    assert all(layer["cached"] for layer in finished.results[-1]["layers"])


@pytest.mark.parametrize(
    "name",
    ["images.yml", "stacks/tiny.yml", "playbooks/tiny.yml", "roles/one/README.md", "notes.txt"],
)
def test_a_comment_in_an_unrelated_file_runs_nothing(
    built_tree: Tree, rebuilt: Callable[..., list[str]], name: str
) -> None:
    before = engine.image(built_tree.reference)
    path = built_tree.root / name
    text = path.read_text() if path.exists() else ""
    path.write_text(f"{text}# a comment\n")
    assert rebuilt() == []
    after = engine.image(built_tree.reference)
    assert before is not None
    assert after is not None
    assert after.id == before.id


def test_times_and_the_umask_do_not_count(
    built_tree: Tree, rebuilt: Callable[..., list[str]]
) -> None:
    (built_tree.state / "context").rename(built_tree.state / "context.old")
    for path in (built_tree.root / "roles").rglob("*.yml"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    # Without its label the image counts as changed, so that BuildKit itself is asked.
    built_tree.entry["environment"] = {"SOMETHING": "else"}
    built_tree.write()
    assert rebuilt() == []


def test_a_forgotten_controller_stage_runs_only_the_changed_layer(
    built_tree: Tree, rebuilt: Callable[..., list[str]]
) -> None:
    """The stage that holds Ansible has the same bytes each time it is made."""
    forget_builds_of("compileall")
    built_tree.variables["last_text"] = "after the controller was forgotten"
    built_tree.write()
    assert rebuilt() == ["last"]
    record = json.loads((built_tree.root / "out" / built_tree.image / "layers.json").read_text())
    assert record["other"]["ansible"] > 0, "the stage was not made again"


def test_no_cache_runs_every_layer(built_tree: Tree, rebuilt: Callable[..., list[str]]) -> None:
    assert sorted(rebuilt("--no-cache")) == ["last", "one", "two"]
    assert built_tree.build("--json").results[-1]["layers"][0]["cached"]


def test_an_image_with_a_common_prefix_of_roles_builds_it_once(built_tree: Tree) -> None:
    other = Tree(
        root=built_tree.root,
        image=f"{built_tree.image}-more",
        roles=list(built_tree.roles),
        variables=dict(built_tree.variables),
    )
    try:
        other.role("more")
        finished = other.build()
        assert finished.status == 0, finished.stderr
        assert other.ran() == ["more"]
        stamps = other.stamps()
        assert {r: stamps[r] for r in built_tree.roles} == built_tree.stamps()
    finally:
        other.remove()
        built_tree.write()


def test_the_record_has_times_tasks_and_sizes(built_tree: Tree) -> None:
    built_tree.variables["last_text"] = "once more"
    built_tree.write()
    result = built_tree.build("--json").results[-1]
    first, *_, last = result["layers"]
    assert first["cached"]
    assert first["built_seconds"] > 0
    assert last["seconds"] > 0
    assert last["bytes"] > 0
    assert last["tasks"][-1]["name"] == "Leave a stamp"
    assert result["build"] == result["key"][:12]


def test_each_task_has_its_own_time(built_tree: Tree) -> None:
    built_tree.role("last", TAKING_TWO_SECONDS)
    layers = {layer["name"]: layer for layer in built_tree.build("--json").results[-1]["layers"]}
    seconds = {task["name"]: task["seconds"] for task in layers["last"]["tasks"]}
    assert seconds["Take two seconds"] >= 2
    assert seconds["Take none"] < seconds["Take two seconds"]


def test_what_a_role_starts_may_use_every_processor(built_tree: Tree) -> None:
    counting = "import os; print(len(os.sched_getaffinity(0)), os.cpu_count())"
    built_tree.role(
        "last",
        f"""\
- name: Ask which processors may be used
  ansible.builtin.command:
    argv: [python3, -c, "{counting}"]
  changed_when: false
  register: last_seen

- name: Leave the answer
  ansible.builtin.copy:
    content: "{{{{ last_seen.stdout }}}}"
    dest: /opt/processors
    mode: "0644"
""",
    )
    finished = built_tree.build()
    assert finished.status == 0, finished.stderr
    usable, present = engine.output_of(built_tree.reference, ["cat", "/opt/processors"]).split()
    assert usable == present
