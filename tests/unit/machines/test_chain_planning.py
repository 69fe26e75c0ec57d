"""Which private images a chain has, and how a playbook is taken apart for them."""

import json
from pathlib import Path
from typing import Any

import pytest

from bakehouse import layout
from bakehouse.builder.catalogue import Entry, Role
from bakehouse.builder.inputs import stack_of
from bakehouse.images import get_image
from bakehouse.machines.chain import Chain, beginning, prefixes
from bakehouse.machines.chain_playbook import cut, plays, steps


def entry(image: str, *roles: str, start: str = "debian", **inputs: str) -> Entry:
    """An image whose roles' keys are their names and inputs, and what is below."""
    made: list[Role] = []
    for name in roles:
        key = f"{made[-1].key if made else start}/{name}{inputs.get(name, '')}"
        made.append(Role(name=name, key=key, inputs={}))
    return Entry(image=image, kind="machine", stack="cpu", start=start, roles=made)


def planned(*entries: Entry) -> list[tuple[str, str, int]]:
    """Images and roles of each private image, and how many of them it has from another."""
    return [
        (
            " ".join(prefix.images),
            " ".join(prefix.roles),
            len(prefix.below.roles) if prefix.below else 0,
        )
        for prefix in prefixes(entries)
    ]


def test_each_level_stands_on_the_one_below() -> None:
    found = planned(
        entry("a", "base", "cuda", "nccl", "slurm"),
        entry("b", "base", "cuda", "nccl", "docker"),
        entry("e", "base", "cuda", "efa"),
        entry("c", "base", "docker", "slurm"),
        entry("d", "base", "docker"),
    )
    assert found == [
        ("a b e c d", "base", 0),
        ("a b e", "base cuda", 1),
        ("c d", "base docker", 1),
        ("a b", "base cuda nccl", 2),
    ]


def test_an_image_alone_makes_no_private_image() -> None:
    assert planned(entry("a", "base", "cuda")) == []


def test_images_on_different_starts_share_nothing() -> None:
    assert planned(entry("a", "base"), entry("b", "base", start="ubuntu")) == []


def test_different_inputs_of_a_role_end_what_is_shared() -> None:
    found = planned(
        entry("a", "base", "cuda", "nccl", cuda="13"), entry("b", "base", "cuda", "nccl", cuda="12")
    )
    assert found == [("a b", "base", 0)]


def test_the_name_of_a_private_image_outlives_its_inputs() -> None:
    (before,) = prefixes([entry("a", "base"), entry("b", "base")])
    (after,) = prefixes([entry("a", "base", base="new"), entry("c", "base", base="new")])
    (other,) = prefixes([entry("a", "base", "cuda"), entry("b", "base", "cuda")])
    assert before.name == after.name != other.name
    assert before.key != after.key


class Playbooks:
    """Playbooks of the test's own, of the repository's roles."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, *of: dict[str, Any]) -> Path:
        """Write one; plays are for all hosts unless they say something else."""
        path = self.folder / f"{name}.yml"
        path.parent.mkdir(exist_ok=True)
        entries = [each if "import_playbook" in each else {"hosts": "all", **each} for each in of]
        path.write_text(json.dumps(entries))
        return path

    def beginning(self, name: str, *of: dict[str, Any]) -> Entry:
        """An image of such a playbook."""
        self.write(name, *of)
        image = get_image("cpu-machine").model_copy(update={"name": name, "playbook": name})
        return beginning(image, stack_of(get_image("cpu-machine")))


@pytest.fixture
def playbooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Playbooks:
    """A folder of them, with the repository's parts."""
    made = Playbooks(tmp_path)
    for path in layout.PLAYBOOKS.glob("**/*.yml"):
        copy = tmp_path / path.relative_to(layout.PLAYBOOKS)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(layout, "PLAYBOOKS", tmp_path)
    return made


FINISH = {"roles": ["node_checks", "image_info", "image_cleanup"]}


def test_what_is_shared_ends_where_the_image_says_its_name(playbooks: Playbooks) -> None:
    one = playbooks.beginning("one", {"roles": ["base", "docker"]}, FINISH)
    two = playbooks.beginning("two", {"roles": ["base", "docker"]}, FINISH)
    (prefix,) = prefixes([one, two])
    assert prefix.roles == ("base", "docker", "node_checks")


def test_the_name_of_the_image_is_no_input_of_roles_that_do_not_take_it(
    playbooks: Playbooks,
) -> None:
    one = playbooks.beginning("one", {"vars": {"image_info_image": "one"}, **FINISH})
    two = playbooks.beginning("two", {"vars": {"image_info_image": "two"}, **FINISH})
    assert prefixes([one, two])[0].roles == ("node_checks",)


@pytest.mark.parametrize(
    "other",
    [
        {"roles": ["base", "docker"], "vars": {"docker_release": {"version": "1"}}},
        {"roles": ["base", {"role": "docker", "tags": ["late"]}]},
        {"roles": ["base", {"role": "docker", "docker_target": "container"}]},
    ],
    ids=["a variable", "a tag", "a parameter"],
)
def test_what_the_playbook_says_of_a_role_splits(
    playbooks: Playbooks, other: dict[str, Any]
) -> None:
    one = playbooks.beginning("one", {"roles": ["base", "docker"]}, FINISH)
    two = playbooks.beginning("two", other, FINISH)
    assert prefixes([one, two])[0].roles == ("base",)


def test_variables_of_one_play_do_not_hide_those_of_another(playbooks: Playbooks) -> None:
    last = {"roles": ["python"], "vars": {"docker_release": {"version": "0"}}}
    one = playbooks.beginning(
        "one", {"roles": ["base", "docker"], "vars": {"docker_release": {"version": "1"}}}, last
    )
    two = playbooks.beginning("two", {"roles": ["base", "docker"]}, last)
    assert prefixes([one, two])[0].roles == ("base",)


def test_other_cleaning_shares_nothing(playbooks: Playbooks) -> None:
    one = playbooks.beginning("one", {"roles": ["base"]}, FINISH)
    entries = {"image_cleanup_more_entries": [{"path": "/opt/x", "state": "absent"}]}
    two = playbooks.beginning("two", {"roles": ["base"]}, {**FINISH, "vars": entries})
    assert prefixes([one, two]) == []


def test_something_is_left_to_run(playbooks: Playbooks) -> None:
    one = playbooks.beginning("one", {"roles": ["base", "docker"]})
    two = playbooks.beginning("two", {"roles": ["base", "docker"]})
    assert prefixes([one, two])[0].roles == ("base",)


def test_a_playbook_is_cut_within_a_play_of_a_part(playbooks: Playbooks) -> None:
    playbooks.write(
        "parts/system",
        {"name": "System", "become": "{{ b }}", "vars": {"x": 1, "y": 1}, "tags": "s",
         "roles": ["base", {"role": "docker", "tags": ["d"]}]},
    )  # fmt: skip
    path = playbooks.write(
        "one",
        {"import_playbook": "parts/system.yml", "vars": {"x": 2}, "tags": ["t"]},
        {"roles": ["python"]},
    )
    every = plays(path)
    head, tail = cut(every, 1)
    system = {"name": "System", "hosts": "all", "become": "{{ b }}", "vars": {"x": 2, "y": 1},
              "tags": ["s", "t"]}  # fmt: skip
    assert head == [{**system, "roles": ["base"]}]
    assert tail == [
        {**system, "roles": [{"role": "docker", "tags": ["d"]}]},
        {"hosts": "all", "roles": ["python"]},
    ]
    assert cut(every, 2)[0] == [{**system, "roles": ["base", {"role": "docker", "tags": ["d"]}]}]
    assert cut(every, 2)[1] == tail[1:]
    assert steps(every)[1].alone() == tail[0]


def test_what_is_more_than_a_list_of_roles_is_not_cut(playbooks: Playbooks) -> None:
    path = playbooks.write(
        "one",
        {"roles": ["base"]},
        {"import_playbook": "parts/system.yml", "when": "some"},
        {"roles": ["docker"]},
    )
    every = plays(path)
    assert [step.role for step in steps(every)] == ["base"]
    target = playbooks.folder / "parts" / "system.yml"
    assert cut(every, 1)[1] == [
        {"when": "some", "ansible.builtin.import_playbook": str(target)},
        {"hosts": "all", "roles": ["docker"]},
    ]
    tasks = playbooks.write("two", {"roles": ["base"], "pre_tasks": []}, {"roles": ["docker"]})
    assert steps(plays(tasks)) == []


def test_the_repositorys_own_images_are_chained_and_containers_are_not() -> None:
    assert Chain(["cpu", "gpu"]).prefixes == []
    chain = Chain(["pcluster-gpu", "cpu", "base-gpu", "pcluster-cpu", "pcluster-cpu"])
    assert [prefix.images for prefix in chain.prefixes] == [
        ("pcluster-gpu", "base-gpu", "pcluster-cpu"),
        ("pcluster-gpu", "base-gpu"),
    ]
    last = chain.prefixes[-1].roles
    assert last[:2] == ("base", "packages")
    assert "image_info" not in last
