"""What decides whether a baked machine becomes an AMI, apart from the ssh to it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bakehouse import host_tests
from bakehouse.checks.result import Result
from bakehouse.images import get_image
from bakehouse.machines import judging
from bakehouse.machines.ssh_machine import SshMachine

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
    with judging._reached(arguments) as machine:
        told = machine.configuration.read_text()
        assert machine.configuration.parent.stat().st_mode & 0o77 == 0
    lines = {line.strip() for line in told.splitlines()}
    expected = {"HostName 192.0.2.7", "Port 22", "User ubuntu", "IdentityFile /tmp/key"}
    assert lines >= expected
    assert not machine.root
    assert "--sudo" in machine.host().options
    assert not machine.configuration.exists()


class Answering(SshMachine):
    """A machine whose answers are known."""

    answers: dict[str, tuple[int, str]]

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        return self.answers.get(Path(command[0]).name, (127, ""))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answering:
    """A machine on which all is well."""
    passed = result("base-test_x", "pass")
    verdict = host_tests.Verdict(results=[passed], facts={"kernel": "6.1"})
    monkeypatch.setattr(host_tests, "run", lambda *_a, **_o: verdict)
    made = Answering(configuration=tmp_path / "c", root=True)
    checks = {"results": [result("python", "pass").as_json()]}
    answers = {
        "df": (0, f"Used 1B-blocks\n{4 * GB} {10 * GB}\n"),
        "cat": (0, '{"image": "pcluster-gpu", "components": []}'),
        "sh": (0, "ubuntu 24.04 x86_64\nbash\t5.2\tamd64\tinstalled\n"),
        "bakehouse-check": (0, json.dumps(checks)),
    }
    object.__setattr__(made, "answers", answers)
    return made


def result(name: str, status: str) -> Result:
    return Result(
        id=name, group="host", title=name, status=status, measured=None, expected=None,
        source="", reason="", remedy="", seconds=0.0,
    )  # fmt: skip


def statuses(machine: Answering) -> dict[str, str]:
    found = judging.findings(get_image("pcluster-gpu"), machine)
    return {each["id"]: each["status"] for each in found["results"]}


def test_all_that_was_found_is_kept(machine: Answering) -> None:
    found = judging.findings(get_image("pcluster-gpu"), machine)
    assert (found["facts"], found["used_bytes"]) == ({"kernel": "6.1"}, 4 * GB)
    assert found["identity"]["image"] == "pcluster-gpu"
    assert [p["name"] for p in found["inventory"]["packages"]] == ["bash"]
    assert set(statuses(machine).values()) == {"pass"}


def test_a_root_device_that_is_nearly_full_fails(machine: Answering) -> None:
    machine.answers["df"] = (0, f"Used 1B-blocks\n{95 * GB} {100 * GB}\n")
    assert statuses(machine)["root-device-room"] == "fail"


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
    monkeypatch.setattr(judging, "findings", lambda *_: found)
    monkeypatch.setattr(judging, "subprocess", SimpleNamespace(run=lambda *_a, **_o: None))
    arguments = ["-i", str(tmp_path / "inventory"), "-e", "ansible_ssh_private_key_file=/k"]
    monkeypatch.setattr(sys, "argv", ["bakehouse-judge", *arguments])
    monkeypatch.setenv(judging.IMAGE, "pcluster-gpu")
    monkeypatch.setenv(judging.OUT, str(tmp_path / "judged.json"))
    with pytest.raises(SystemExit) as ended:
        judging.main()
    assert ended.value.code == status
    assert json.loads((tmp_path / "judged.json").read_text()) == found
