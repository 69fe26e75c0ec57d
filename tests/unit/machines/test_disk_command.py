"""`bakehouse disk build`: what is refused, and what becomes of the disk that was there."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, command_line

from bakehouse import layout
from bakehouse.builder.result import BuildResult
from bakehouse.commands import disk
from bakehouse.errors import BuildError, HostError
from bakehouse.machines import disk_bake, disk_image, proof, virtual
from bakehouse.machines.disk_image import Disk
from bakehouse.machines.proof import Proof


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    return partial(command_line(monkeypatch, disk), "disk")


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where disks go, with everything that takes long left out."""

    def make(image_id: str, folder: Path, *, gb: int, name: str) -> Disk:
        disk = Disk(raw=folder / f"{name}.raw", qcow2=folder / f"{name}.qcow2")
        disk.raw.write_text(f"{image_id} {gb}")
        disk.qcow2.write_text(image_id)
        return disk

    monkeypatch.setattr(layout, "OUT", tmp_path)
    monkeypatch.setattr(layout, "STATE", tmp_path / "state")
    monkeypatch.setattr(disk_bake, "build_lineage", lambda *_: [built("sha256:1")])
    monkeypatch.setattr(disk_image, "make", make)
    return tmp_path / "cpu-node"


def built(image_id: str) -> BuildResult:
    return BuildResult(
        image="cpu-node",
        build="abc",
        key="abc",
        image_id=image_id,
        seconds=0.0,
        layers=[],
        other={},
    )


def order(**told: Any) -> disk_bake.Order:
    return disk_bake.Order(image=disk_bake.with_disk("cpu-node"), **told)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cpu-nod"], "there is no image cpu-nod"),
        (["cpu"], "images.yml does not make a disk of this one"),
        (["cpu-node", "--accelerator", "hvf"], "there is no accelerator hvf"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_built(
    run: Run, arguments: list[str], said: str
) -> None:
    status, _, errors = run("build", *arguments)
    assert status == 2
    assert said in errors


def test_a_machine_without_qemu_is_told_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, _, errors = run("build", "cpu-node")
    assert status == 3
    assert "qemu-system-x86_64 is not installed" in errors
    assert "setup.sh disk" in errors


def test_kvm_that_does_not_work_is_refused_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(virtual, "_kvm_works", lambda: False)
    with pytest.raises(HostError, match="KVM does not work here"):
        virtual.hardware("kvm")
    assert virtual.hardware("auto").accelerator == "tcg"
    monkeypatch.setattr(virtual, "_kvm_works", lambda: True)
    assert virtual.hardware("auto").accelerator == "kvm"
    assert virtual.hardware("tcg").accelerator == "tcg"


def test_a_disk_has_its_checksums_and_is_kept_while_nothing_changes(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = disk_bake.bake(order(proven=False))
    assert folder == out / "disk"
    names = {path.name for path in folder.iterdir()}
    assert names == {"cpu-node-abc.raw", "cpu-node-abc.qcow2", "SHA256SUMS", "disk.json"}
    assert (folder / "cpu-node-abc.raw").read_text() == "sha256:1 8"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["cpu-node-abc.raw", "cpu-node-abc.qcow2"]
    (folder / "mark").touch()
    disk_bake.bake(order(proven=False))
    assert (folder / "mark").exists()
    disk_bake.bake(order(proven=False, again=True))
    assert not (folder / "mark").exists()
    (folder / "mark").touch()
    monkeypatch.setattr(disk_bake, "build_lineage", lambda *_: [built("sha256:2")])
    disk_bake.bake(order(proven=False))
    assert not (folder / "mark").exists()


def test_a_disk_that_fails_its_proof_does_not_take_the_place_of_the_one_before(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_bake.bake(order(proven=False))
    before = json.loads((out / "disk" / "disk.json").read_text())

    def fail(*_: Any) -> Proof:
        raise BuildError("nobody can log in")

    monkeypatch.setattr(virtual, "hardware", lambda _: virtual.Hardware(accelerator="tcg"))
    monkeypatch.setattr(proof, "prove", fail)
    with pytest.raises(BuildError, match="nobody can log in"):
        disk_bake.bake(order())
    assert json.loads((out / "disk" / "disk.json").read_text()) == before
    assert not (out / "disk.part").exists()


@pytest.mark.usefixtures("out")
def test_json_says_where_the_files_are(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, errors = run("build", "cpu-node", "--no-proof", "--json")
    assert status == 0, errors
    found = json.loads(capsys.readouterr().out)
    names = {Path(path).name for path in found["files"]}
    assert names == {"cpu-node-abc.raw", "cpu-node-abc.qcow2", "SHA256SUMS", "disk.json"}
