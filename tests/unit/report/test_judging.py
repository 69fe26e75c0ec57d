"""An image is started, looked at and described; what it does not answer is never a pass."""

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound
from made_results import IMAGE_ID, result

from bakehouse import engine, host_tests, judge, layout, systemd
from bakehouse.checks.result import Result
from bakehouse.errors import HostError, InputError
from bakehouse.images import get_image
from bakehouse.report import content, inventory, provenance

GOOD = json.dumps({"results": [result("memory").as_json()]})
LISTING = "debian 12 x86_64\nlibc6\t2.36-9\tamd64\tinstalled\nold\t1\tamd64\tconfig-files\n"


class Container:
    """A container whose programs are told what to answer: status and output, by a word."""

    name = "bakehouse-made"

    def __init__(self, **answers: tuple[int, str]) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []
        self.identity: bytes | None = b"{}"

    def exec_run(self, command: list[str], *, demux: bool) -> Any:
        assert demux
        self.asked.append(command)
        for word, (status, output) in self.answers.items():
            if any(word in part for part in command):
                raw = output.encode("utf-8", "surrogateescape")
                return SimpleNamespace(exit_code=status, output=(raw, None))
        return SimpleNamespace(exit_code=127, output=(None, b"no such program \xff"))

    def get_archive(self, _path: str) -> tuple[Iterator[bytes], None]:
        if self.identity is None:
            raise NotFound("no such file")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo("image.json")
            member.size = len(self.identity)
            archive.addfile(member, io.BytesIO(self.identity))
        return iter([buffer.getvalue()]), None


def made(**answers: tuple[int, str]) -> Any:
    """A container, for functions that want docker's."""
    return Container(**answers)


def test_the_images_own_checks_become_results() -> None:
    container = made(check=(1, GOOD))
    assert [r.id for r in judge._inside(container, ["versions", "training"])] == ["memory"]
    assert container.asked == [
        ["/usr/local/bin/bakehouse-check", "--group", "versions", "--json", "-"]
    ]


@pytest.mark.parametrize("groups", [[], ["training"]])
def test_without_a_group_none_of_the_images_checks_run(groups: list[str]) -> None:
    container = made(check=(0, GOOD))
    assert judge._inside(container, groups) == []
    assert container.asked == []


def test_an_image_without_checks_is_told_as_such() -> None:
    with pytest.raises(HostError, match="own checks do not run: no such program") as caught:
        judge._inside(made(), ["versions"])
    assert "node_checks" in caught.value.remedy


@pytest.mark.parametrize(
    "text", ["", "Segmentation fault", "[]", "{}", '{"results": [{"id": "of another version"}]}']
)
def test_an_answer_that_is_no_result_is_no_result(text: str) -> None:
    with pytest.raises(HostError, match="not results of checks") as caught:
        judge._inside(made(check=(0, text)), ["versions"])
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("identity", "known"),
    [(b'{"image": "cpu"}', {"image": "cpu"}), (b"", None), (b"{", None), (b"[]", None),
     (b"\xff", None), (None, None)],
)  # fmt: skip
def test_an_identity_that_is_none_is_none(
    identity: bytes | None, known: dict[str, str] | None
) -> None:
    container = made()
    container.identity = identity
    assert judge._identity(container) == known


def took(**answers: tuple[int, str]) -> inventory.Inventory:
    container = made(**answers)
    return inventory.take(lambda command: judge.execute(container, command), {})


def test_packages_are_those_that_are_installed() -> None:
    python = '[["torch", "2.13.0", ""]]'
    found = took(**{"dpkg-query": (0, LISTING), "/opt/venv": (0, python)})
    assert found.of_kind("deb", "pypi") == {"libc6": "2.36-9", "torch": "2.13.0"}
    assert (found.distribution, found.release, found.architecture) == ("debian", "12", "x86_64")


def test_an_image_without_python_has_no_python_packages() -> None:
    assert took(**{"dpkg-query": (0, LISTING)}).of_kind("pypi") == {}


@pytest.mark.parametrize("answer", [(1, "Traceback"), (0, ""), (0, "nonsense"), (0, "[1]")])
def test_python_packages_that_cannot_be_listed_are_not_left_out(answer: tuple[int, str]) -> None:
    with pytest.raises(HostError, match="Python packages cannot be listed"):
        took(**{"dpkg-query": (0, LISTING), "/opt/venv": answer})


@pytest.mark.parametrize(
    "answer", [(1, "database is locked"), (0, ""), (0, "x"), (0, "debian 12 x86_64\nlibc6 2.36")]
)
def test_a_package_database_that_cannot_be_read_is_told(answer: tuple[int, str]) -> None:
    with pytest.raises(HostError, match="package database cannot be read"):
        took(**{"dpkg-query": answer})


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty folders for results and keys."""
    monkeypatch.setattr(layout, "OUT", tmp_path / "out")
    monkeypatch.setattr(judge, "KEYS", tmp_path / "keys")
    return tmp_path / "out"


RUN = {
    "image_id": IMAGE_ID, "outcome": "done", "nodes": 1, "processes_per_node": 1, "seconds": 1.0,
    "expected": {"accuracy": 0.5, "resume": "bit-identical"},
    "attempts": [{"killed": None, "exit_statuses": [0], "records": [
        {"event": "start", "world_size": 1},
        {"event": "step", "step": 1, "loss": 2.0, "samples_per_s": 9.0},
        {"event": "step", "step": 2, "loss": 1.0, "samples_per_s": 9.0},
        {"event": "final", "step": 2, "accuracy": 0.9, "held_out": 10},
    ]}],
}  # fmt: skip


def trained(out: Path, text: str) -> dict[str, str]:
    """Statuses of the training checks, with this run.json."""
    (out / "cpu-ddp" / "run").mkdir(parents=True)
    (out / "cpu-ddp" / "run" / "run.json").write_text(text)
    return {r.id: r.status for r in judge._training(get_image("cpu-ddp"), IMAGE_ID)}


def test_a_run_of_this_image_is_judged(out: Path) -> None:
    statuses = trained(out, json.dumps(RUN))
    assert statuses.pop("resume") == statuses.pop("replay") == "skip"
    assert set(statuses.values()) == {"pass"}
    assert judge._run_of(get_image("cpu-ddp"), IMAGE_ID) == RUN


def test_a_run_of_another_image_is_not(out: Path) -> None:
    stale = json.dumps({**RUN, "image_id": "sha256:0"})
    assert set(trained(out, stale).values()) == {"skip"}
    (found, *_) = judge._training(get_image("cpu-ddp"), IMAGE_ID)
    assert "of another image: `bakehouse run cpu-ddp`" in found.reason
    assert judge._run_of(get_image("cpu-ddp"), IMAGE_ID) is None


def test_a_record_that_cannot_be_read_fails(out: Path) -> None:
    assert set(trained(out, "{").values()) == {"fail"}


def test_no_run_is_skipped(out: Path) -> None:
    found = judge._training(get_image("cpu-ddp"), IMAGE_ID)
    assert {(r.status, r.reason) for r in found} == {("skip", "no run was given")}
    assert not out.exists()


def test_a_group_that_does_not_exist_is_wrong_input() -> None:
    with pytest.raises(InputError, match="there is no group nodes") as caught:
        judge.node_results(["nodes"])
    assert caught.value.remedy == "did you mean node?"


def test_this_machine_is_judged_by_the_groups_that_are_named() -> None:
    assert {r.group for r in judge.node_results(["node"])} == {"node"}


@pytest.fixture
def asked(
    monkeypatch: pytest.MonkeyPatch, out: Path
) -> Iterator[list[tuple[str, bool, list[str]]]]:
    """Who was asked what of an image: host tests or checks, whether booted, roles or groups."""
    calls: list[tuple[str, bool, list[str]]] = []
    booted: list[bool] = []

    @contextmanager
    def running(_image: str, command: list[str], **options: Any) -> Iterator[Container]:
        assert not options.get("privileged")
        booted.append("systemd" in command[0])
        yield Container(**{"dpkg-query": (0, LISTING), "systemctl": (0, "")})

    def tests(
        _host: host_tests.Host,
        roles: list[str],
        _stack: Any,
        *,
        target: str,
        booted: bool,
        case: str = "",
    ) -> host_tests.Verdict:
        what = f"host tests of a {target}" + (f" of the case {case}" if case else "")
        calls.append((what, booted, roles))
        return host_tests.Verdict(results=[result("host-test", group="host")], facts={"x": "1"})

    def inside(_container: Any, groups: list[str]) -> list[Result]:
        calls.append(("checks", booted[-1], groups))
        return [result(f"check-{group}", group=group) for group in groups]

    found = SimpleNamespace(id=IMAGE_ID, attrs={"Size": 12})
    monkeypatch.setattr(engine, "image", lambda _name: found)
    monkeypatch.setattr(engine, "sweep", lambda: None)
    monkeypatch.setattr(engine, "running_container", running)
    monkeypatch.setattr(systemd, "wait_for_systemd", lambda _container: "running")
    monkeypatch.setattr(engine, "cgroup_mount", lambda: "/sys/fs/cgroup:/sys/fs/cgroup:ro")
    monkeypatch.setattr(host_tests, "run", tests)
    monkeypatch.setattr(judge, "_inside", inside)
    yield calls
    assert not (out / "cpu-ddp" / "run").exists()


def test_a_container_is_judged_as_it_is(asked: list[tuple[str, bool, list[str]]]) -> None:
    report = judge.judge("cpu-ddp")
    (first, second) = asked
    assert first[:2] == ("host tests of a container of the case cpu-ddp", False)
    assert first[2][0] == "base"
    assert second == ("checks", False, list(get_image("cpu-ddp").checks))
    assert report.counts["skip"] == 7, "there is no run"
    assert (report.verdict, report.facts) == ("pass", {"x": "1"})


def test_a_machine_is_judged_before_and_after_its_first_boot(
    asked: list[tuple[str, bool, list[str]]],
) -> None:
    judge.judge("cpu-machine")
    assert asked[0] == ("host tests of a machine", False, ["image_cleanup"])
    assert asked[1] == ("checks", False, ["hygiene"])
    assert asked[2][:2] == ("host tests of a machine", True)
    assert "image_cleanup" not in asked[2][2]
    assert asked[3][:2] == ("checks", True)
    assert "hygiene" not in asked[3][2]


def test_what_was_found_lies_beside_the_image_and_is_signed(
    asked: list[tuple[str, bool, list[str]]], out: Path
) -> None:
    assert asked == []
    judge.judge("cpu-ddp")
    folder = out / "cpu-ddp"
    signed = provenance.verify(folder / "provenance.json", folder / "provenance.pub")
    assert {s["name"] for s in signed["subject"]} == {
        "cpu-ddp", "report.json", "report.html", "report.xml", "sbom.cdx.json", "sbom.spdx.json",
        "provenance.pub",
    }  # fmt: skip
    assert content.read((folder / "report.json").read_text())["image"] == "cpu-ddp"
    (folder / "report.html").write_text("<h1>All is well</h1>")
    with pytest.raises(InputError, match="not the file that was signed"):
        provenance.verify(folder / "provenance.json", folder / "provenance.pub")


def test_an_image_that_is_not_built_is_told_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "image", lambda _name: None)
    with pytest.raises(HostError, match="cpu is not built") as caught:
        judge.judge("cpu")
    assert caught.value.remedy == "bakehouse build cpu"


def test_a_plain_distribution_is_told_with_what_can_be_judged() -> None:
    with pytest.raises(InputError, match="promises nothing") as caught:
        judge.judge("debian-12")
    assert caught.value.remedy.startswith("one of: base-gpu, bionemo, bionemo-gpu, cpu, cpu-ddp")


@pytest.mark.parametrize("text", ["[]", "null", "{", "7"])
def test_a_broken_report_is_not_kept(out: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(engine, "image", lambda _name: SimpleNamespace(id=IMAGE_ID))
    (out / "cpu").mkdir(parents=True)
    (out / "cpu" / "report.json").write_text(text)
    assert judge.unchanged("cpu") is None
