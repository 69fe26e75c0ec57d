"""All images planned together: prefixes, what a change runs again, time and cost."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import stack_tree
from stack_tree import StackTree

from bakehouse import layout
from bakehouse.builder import catalogue, forecast, ledger
from bakehouse.builder.catalogue import FIRST, Entry, Role
from bakehouse.images import get_image, load_images


def entry(image: str, *roles: str, start: str = "debian", **inputs: str) -> Entry:
    """An image whose roles' keys are their names and inputs, and what is below."""
    made: list[Role] = []
    for name in roles:
        below = made[-1].key if made else start
        made.append(
            Role(name=name, key=f"{below}/{name}{inputs.get(name, '')}", inputs={
                f"roles/{name}": inputs.get(name, "")
            })
        )  # fmt: skip
    return Entry(image=image, kind="container", stack="cpu", start=start, roles=made)


def test_images_that_begin_alike_are_found_with_their_longest_beginning() -> None:
    found = catalogue.shared(
        [
            entry("a", "base", "cuda", "nccl", "slurm"),
            entry("b", "base", "cuda", "nccl"),
            entry("c", "base", "docker"),
            entry("d", "base", "cuda", start="ubuntu"),
        ]
    )
    assert [(group.images, group.roles) for group in found] == [
        (["a", "b"], ["base", "cuda", "nccl"]),
        (["a", "b", "c"], ["base"]),
    ]


@pytest.mark.parametrize(
    ("after", "first", "reasons", "again"),
    [
        (entry("a", "base", "cuda", "nccl"), "", [], []),
        (
            entry("a", "base", "cuda", "nccl", cuda="x"),
            "cuda",
            ["roles/cuda"],
            ["cuda", "nccl"],
        ),
        (
            entry("a", "base", "cuda", "nccl", "slurm"),
            "slurm",
            ["the role slurm is new there"],
            ["slurm"],
        ),
        (entry("a", "base", "cuda"), FIRST, ["without nccl"], ["base", "cuda"]),
        (
            entry("a", "base", "cuda", "nccl", start="ubuntu"),
            FIRST,
            ["debian, cpu"],
            ["base", "cuda", "nccl"],
        ),
        (entry("new", "base"), FIRST, ["is new"], ["base"]),
    ],
    ids=["nothing", "a file", "one more role", "one role less", "another start", "another image"],
)
def test_what_a_change_runs_again(
    after: Entry, first: str, reasons: list[str], again: list[str]
) -> None:
    (found,) = catalogue.changes([entry("a", "base", "cuda", "nccl")], [after])
    assert (found.first, found.reasons, found.again) == (first, reasons, again)


def test_time_and_cost_are_of_the_roles_that_are_known() -> None:
    image = get_image("pcluster-gpu")
    found = forecast.forecast(image, ["base", "nvidia_driver", "slurm"], {"base": 60, "slurm": 30})
    assert (found.seconds, found.known, found.of) == (90, 2, 3)
    assert found.instance == "c7i.4xlarge"
    assert found.usd == pytest.approx(0.714 * 90 / 3600, abs=1e-4)
    assert found.source.startswith("https://")
    assert forecast.forecast(get_image("cpu"), ["base"], {"base": 60}).usd is None


def test_every_ami_has_a_price() -> None:
    for image in load_images().values():
        if image.ami:
            assert forecast.forecast(image, [], {}).usd is not None, image.name


def test_of_each_role_the_newest_time_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "STATE", tmp_path)
    for age, (image, seconds) in enumerate([("cpu", {"k1": 9.0, "k2": 5.0}), ("gpu", {"k3": 7.0})]):
        file = tmp_path / "layers" / image / "base.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"inputs": {}, "seconds": seconds}))
        os.utime(file, (1000 - age, 1000 - age))
    assert ledger.newest_seconds() == {"base": 5.0}


@pytest.fixture
def tree(tmp_path: Path) -> StackTree:
    """The repository's own files in a repository of their own, with one commit."""
    made = stack_tree.make(tmp_path / "tree")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        git(made.root, *command)
    return made


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=tests", "-c", "user.email=tests@example.com"]
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)


def planned(tree: StackTree, *arguments: str) -> Any:
    done = tree.run("plan", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.lengthy
def test_all_images_are_planned_and_the_shared_beginning_is_told(tree: StackTree) -> None:
    found = planned(tree, "--all")
    images = {each["image"]: each for each in found["images"]}
    assert set(images) == {n for n, image in load_images().items() if image.kind != "rootfs"}
    assert [role["name"] for role in images["cpu-ddp"]["roles"]][-1] == "cpu-ddp"
    groups = {tuple(group["images"]): group["roles"] for group in found["shared"]}
    assert groups["pcluster-cpu", "pcluster-gpu", "pcluster-neuron"][:3] == [
        "base", "packages", "aws_cli",
    ]  # fmt: skip


@pytest.mark.lengthy
def test_a_changed_record_runs_only_what_uses_it(tree: StackTree) -> None:
    assert all(not c["again"] for c in planned(tree, "--all", "--since", "HEAD")["changes"])
    text = tree.cpu.read_text()
    assert "docker_release:" in text
    tree.cpu.write_text(text.replace("docker_release:\n", "docker_release:\n  # other\n"))
    assert all(not c["again"] for c in planned(tree, "--all", "--since", "HEAD")["changes"])
    tree.cpu.write_text(text.replace("20.10", "20.11"))
    changes = {c["image"]: c for c in planned(tree, "--all", "--since", "HEAD")["changes"]}
    assert changes["cpu-machine"]["first"] == "docker"
    assert changes["cpu-machine"]["reasons"] == ["variable docker_release"]
    assert "docker" in changes["cpu-machine"]["again"]
    assert "base" not in changes["cpu-machine"]["again"]
    assert changes["cpu"]["again"] == changes["gpu"]["again"] == []


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--all", "--since", "nowhere"), "git does not know nowhere"),
        ((), "which images?"),
        (("cpu", "--all"), "which images?"),
        (("cpu-ddq",), "did you mean cpu-ddp?"),
    ],
)
def test_wrong_input_is_told(tree: StackTree, arguments: tuple[str, ...], said: str) -> None:
    done = tree.run("plan", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.lengthy
def test_the_table_says_what_runs_again_and_what_it_costs(tree: StackTree) -> None:
    done = tree.run("plan", "pcluster-gpu", "pcluster-cpu", "--since", "HEAD")
    assert done.returncode == 0, done.stderr
    assert "nothing runs" in done.stdout
    assert "pcluster-gpu, pcluster-cpu begin alike: base, packages, aws_cli" in done.stdout
