"""What the proof of a disk concludes from what machines say; no machine runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bakehouse.checks.result import Result
from bakehouse.images import get_image
from bakehouse.machines import judging, proof, virtual

KERNEL = "6.1.0-56-cloud-amd64"
HARDWARE = virtual.Hardware(accelerator="tcg")


class Machine:
    """A machine with an identity of its own, whose answers are known."""

    def __init__(self, name: str, answers: dict[str, str]) -> None:
        self.name, self.answers, self.boots = name, answers, 1
        self.ssh = SimpleNamespace(execute=self.execute)

    def wait(self) -> None:
        """It is there at once."""

    def reboot(self) -> None:
        self.boots += 1

    def said(self, *command: str) -> str:
        return self.execute(list(command))[1]

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        words = " ".join(command)
        if command[0] == "sh":
            name = next(n for n, script in proof.IDENTITY.items() if script == command[2])
            known = self.answers.get(f"{name} {self.boots}", self.answers.get(name))
            return 0, known or f"{name} of {self.name}"
        if words == "dkms status" and "dkms fails" in self.answers:
            return 2, self.answers["dkms fails"]
        if words == "dkms status":
            return (0, self.answers["dkms"]) if "dkms" in self.answers else (127, "")
        given = {"uname -r": KERNEL, "apt-mark showhold": f"linux-image-{KERNEL}\nother"}
        return 0, self.answers.get(words, given.get(words, ""))


def check(name: str, status: str) -> Result:
    return Result(name, "node", name, status, None, None, "", f"{name} says so", "mend it", 0.0)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """What the judge finds each time."""
    results = [check("memory", "pass")]
    findings: Any = lambda *_: {"results": [r.as_json() for r in results]}  # noqa: E731
    monkeypatch.setattr(judging, "findings", findings)
    return results


def proven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **answers: str) -> dict[str, Result]:
    """Results by id, of machines that all give some answers."""

    @contextmanager
    def started(name: str, *_: Any) -> Iterator[Machine]:
        yield Machine(name, answers)

    monkeypatch.setattr(virtual, "started", started)
    seen = proof.prove(get_image("cpu-node"), tmp_path / "disk.qcow2", tmp_path, HARDWARE)
    return {result.id: result for result in seen.results}


@pytest.mark.usefixtures("judged")
def test_a_good_disk_passes_before_and_after_the_reboot_and_as_clones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = proven(monkeypatch, tmp_path)
    assert {r.status for r in results.values()} == {"pass"}
    assert {"memory", "memory-rebooted", "kernel-held", "kernel-held-rebooted"} <= set(results)
    assert {f"clones-{name}" for name in proof.IDENTITY} <= set(results)


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize("name", sorted(proof.IDENTITY))
def test_clones_that_share_something_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    results = proven(monkeypatch, tmp_path, **{name: "the same everywhere"})
    assert [r.id for r in results.values() if r.status == "fail"] == [f"clones-{name}"]


@pytest.mark.usefixtures("judged")
def test_an_identity_that_does_not_outlive_a_reboot_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = proven(monkeypatch, tmp_path, **{"host-keys 2": "new ones"})
    assert "host-keys" in results["identity-kept"].reason


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize(
    ("answers", "failed"),
    [
        ({"systemctl --failed --plain --no-legend": "munge.service loaded failed failed"},
         ["services-up", "services-up-rebooted"]),
        ({"apt-mark showhold": "linux-image-of-another"}, ["kernel-held", "kernel-held-rebooted"]),
        ({"dkms": "gdrdrv/2.6, 6.1.0-1-other, x86_64: installed"},
         ["module-gdrdrv", "module-gdrdrv-rebooted"]),
        ({"dkms": "gdrdrv/2.6: added"}, ["module-gdrdrv", "module-gdrdrv-rebooted"]),
        ({"dkms": f"gdrdrv/2.6, {KERNEL}, x86_64: installed"}, []),
    ],
    ids=["a service", "the kernel", "a module of another kernel", "a module", "good"],
)  # fmt: skip
def test_what_fails_on_a_booted_machine_is_found_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: dict[str, str], failed: list[str]
) -> None:
    results = proven(monkeypatch, tmp_path, **answers)
    assert [r.id for r in results.values() if r.status == "fail"] == failed
    if "dkms" in answers and not failed:
        assert results["module-gdrdrv"].status == "pass"


@pytest.mark.usefixtures("judged")
def test_a_dkms_that_does_not_answer_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = proven(monkeypatch, tmp_path, **{"dkms fails": "dkms: cannot open its tree"})
    assert results["modules"].status == "fail"
    assert "cannot open its tree" in results["modules"].reason


def test_only_the_clock_may_fail_where_there_is_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, judged: list[Result]
) -> None:
    judged += [check("clock", "fail"), check("swap", "fail")]
    results = proven(monkeypatch, tmp_path)
    assert (results["clock"].status, results["swap"].status) == ("skip", "fail")
    assert "no time server" in results["clock"].reason


def test_an_emulated_machine_may_be_too_slow_for_collectives_but_not_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, judged: list[Result]
) -> None:
    slow = replace(check("all-reduce", "fail"), group="collectives", reason="timed out")
    judged += [slow, replace(slow, id="wrong-sum", reason="the sum is wrong")]
    results = proven(monkeypatch, tmp_path)
    assert (results["all-reduce"].status, results["wrong-sum"].status) == ("skip", "fail")


def test_the_machine_of_the_proof_has_no_network_but_its_ssh(tmp_path: Path) -> None:
    command = virtual._command(HARDWARE, tmp_path / "d", tmp_path / "s", 2222, tmp_path / "c")
    (network,) = [word for word in command if word.startswith("user,")]
    assert network == "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22"
