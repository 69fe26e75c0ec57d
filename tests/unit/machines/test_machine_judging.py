"""What decides whether a baked machine becomes an AMI, apart from the ssh to it."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bakehouse import host_tests
from bakehouse.checks.result import Result
from bakehouse.images import Budget, get_image
from bakehouse.machines import judging, reached
from bakehouse.stacks.stack import load_stack

GB = 10**9
OLD = "default ansible_ssh_host=192.0.2.7 ansible_ssh_user=ubuntu ansible_ssh_port=22\n"
NEW = "default ansible_host=192.0.2.7 ansible_user=ubuntu ansible_port=22\n"


@pytest.mark.parametrize("inventory", [OLD, NEW], ids=["Packer 1.6", "a present one"])
def test_packers_arguments_say_how_the_machine_is_reached(tmp_path: Path, inventory: str) -> None:
    file = tmp_path / "inventory"
    file.write_text(inventory)
    arguments = [
        "-e", 'packer_build_name="machine"', "--ssh-extra-args", "-o IdentitiesOnly=yes",
        "-e", "ansible_ssh_private_key_file=/tmp/key", "-i", str(file), "/playbooks/tiny.yml",
    ]  # fmt: skip
    with reached.reached(arguments) as machine:
        assert isinstance(machine, reached.Remote)
        told = machine.configuration.read_text()
        assert machine.configuration.parent.stat().st_mode & 0o77 == 0
    lines = {line.strip() for line in told.splitlines()}
    expected = {"HostName 192.0.2.7", "Port 22", "User ubuntu", "IdentityFile /tmp/key"}
    assert lines >= expected
    assert not machine.root
    assert "--sudo" in machine.host().options
    assert not machine.configuration.exists()


def test_a_container_is_reached_through_docker(tmp_path: Path) -> None:
    file = tmp_path / "inventory"
    file.write_text(NEW)
    # What is given by hand comes after Packer's own inventory, and wins.
    given = ["-e", "ansible_connection=docker", "-e", "ansible_host=bakehouse-packer-x"]
    with reached.reached([*given, "-i", str(file), "/playbooks/tiny.yml"]) as machine:
        assert machine == reached.Contained(name="bakehouse-packer-x")
        assert machine.host().name == "docker://bakehouse-packer-x"


@dataclass(kw_only=True)
class Answering:
    """A machine whose answers are known."""

    own_disk: bool = True
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)

    def host(self) -> host_tests.Host:
        return host_tests.Host(name="ssh://baked")

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        asked = "find" if "find /" in command[-1] else Path(command[0]).name
        return self.answers.get(asked, (127, ""))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """A machine on which all is well."""
    passed = result("base-test_x", "pass")
    verdict = host_tests.Verdict(results=[passed], facts={"kernel": "6.1"})
    monkeypatch.setattr(host_tests, "run", lambda *_a, **_o: verdict)
    checks = {"results": [result("python", "pass").as_json()]}
    answers = {
        "df": (0, f"Used 1B-blocks\n{4 * GB} {10 * GB}\n"),
        "cat": (0, '{"image": "pcluster-gpu", "components": []}'),
        "sh": (0, "ubuntu 24.04 x86_64\nbash\t5.2\tamd64\tinstalled\n"),
        "bakehouse-check": (0, json.dumps(checks)),
    }
    return Answering(answers=answers)


def result(name: str, status: str) -> Result:
    return Result(
        id=name, group="host", title=name, status=status, measured=None, expected=None,
        source="", reason="", remedy="", seconds=0.0,
    )  # fmt: skip


def findings(machine: Answering, **options: float) -> dict[str, Any]:
    image = get_image("pcluster-gpu").model_copy(update={"budget": Budget(minutes=60, gb=5)})
    return judging.findings(image, load_stack("gpu-cuda13"), machine, **options)


def statuses(machine: Answering, **options: float) -> dict[str, str]:
    return {each["id"]: each["status"] for each in findings(machine, **options)["results"]}


def test_all_that_was_found_is_kept(machine: Answering) -> None:
    found = findings(machine)
    assert (found["facts"], found["used_bytes"]) == ({"kernel": "6.1"}, 4 * GB)
    assert found["identity"]["image"] == "pcluster-gpu"
    assert [p["name"] for p in found["inventory"]["packages"]] == ["bash"]
    assert set(statuses(machine).values()) == {"pass"}


def test_a_root_device_that_is_nearly_full_fails(machine: Answering) -> None:
    machine.answers["df"] = (0, f"Used 1B-blocks\n{95 * GB} {100 * GB}\n")
    assert statuses(machine)["root-device-room"] == "fail"


@pytest.mark.parametrize(("used", "status"), [(5 * GB, "pass"), (5 * GB + GB // 10, "fail")])
def test_the_size_is_held_against_the_budget(machine: Answering, used: int, status: str) -> None:
    machine.answers["df"] = (0, f"Used 1B-blocks\n{used} {100 * GB}\n")
    assert statuses(machine)["size-budget"] == status


@pytest.mark.parametrize(("minutes", "status"), [(59, "pass"), (61, "fail")])
def test_the_time_is_held_against_the_budget(machine: Answering, minutes: int, status: str) -> None:
    assert statuses(machine, since=time.time() - 60 * minutes)["time-budget"] == status


def test_of_a_bake_whose_beginning_is_not_known_the_time_is_not_judged(machine: Answering) -> None:
    assert "time-budget" not in statuses(machine)


def test_a_container_holds_what_its_files_take_not_what_this_hosts_disk_does(
    machine: Answering,
) -> None:
    machine.own_disk = False
    machine.answers["find"] = (0, f"100.1 {GB}\n200.2 {GB}\n")
    assert findings(machine)["used_bytes"] == 2 * GB
    assert "root-device-room" not in statuses(machine)
    machine.answers["find"] = (127, "")
    assert statuses(machine)["size-budget"] == "fail"


@pytest.mark.parametrize("answer", [(127, ""), (0, "Traceback"), (1, "{}")])
def test_checks_that_do_not_run_fail(machine: Answering, answer: tuple[int, str]) -> None:
    machine.answers["bakehouse-check"] = answer
    assert statuses(machine)["checks-run"] == "fail"


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ([("a", "pass"), ("b", "skip")], 0),
        ([("a", "pass"), ("b", "fail")], 1),
        ([("a", "skip")], 1),
        ([], 1),
    ],
    ids=["good", "one failed", "nothing was looked at", "nothing"],
)
def test_only_what_was_looked_at_and_held_makes_an_ami(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    results: list[tuple[str, str]],
    status: int,
) -> None:
    found: Any = {"results": [result(*each).as_json() for each in results]}
    (tmp_path / "inventory").write_text(NEW)
    monkeypatch.setattr(judging, "findings", lambda *_a, **_o: found)
    monkeypatch.setattr(reached, "subprocess", SimpleNamespace(run=lambda *_a, **_o: None))
    arguments = ["-i", str(tmp_path / "inventory"), "-e", "ansible_ssh_private_key_file=/k"]
    monkeypatch.setattr(sys, "argv", ["bakehouse-judge", *arguments])
    monkeypatch.setenv(judging.IMAGE, "pcluster-gpu")
    monkeypatch.setenv(judging.OUT, str(tmp_path / "judged.json"))
    with pytest.raises(SystemExit) as ended:
        judging.main()
    assert ended.value.code == status
    assert json.loads((tmp_path / "judged.json").read_text()) == found
