"""The wheels of a bundle are an index for any pip."""

import subprocess
import sys
import zipfile
from pathlib import Path

import bundles
import pytest

from bakehouse.builder import wheelhouse
from bakehouse.mirror import wheels
from bakehouse.mirror.server import Bundle, serving
from bakehouse.stacks.stack import load_stack

FILE = "tiny-1.0+cpu-py3-none-any.whl"


def make_wheel(folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        about = "tiny-1.0+cpu.dist-info"
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0+cpu\n"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")


def pip(*arguments: str, into: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--isolated", "download", "--no-deps", "--dest"]
    return subprocess.run(
        [*command, str(into), *arguments, "tiny==1.0+cpu"],
        env={"PIP_CONFIG_FILE": "/dev/null", "PATH": "/usr/bin:/bin", "no_proxy": "*"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with one wheel, whose version has a plus in it."""
    make_wheel(tmp_path / "wheelhouse")
    (tmp_path / "controller").mkdir()
    monkeypatch.setattr(wheelhouse, "prepare", lambda *_, **__: tmp_path / "wheelhouse")
    monkeypatch.setattr(wheelhouse, "prepare_controller", lambda *_: tmp_path / "controller")
    wanted = wheels.add(tmp_path / "bundle", load_stack("cpu"), [wheelhouse.usual()], [])
    assert set(wanted) == {f"wheels/{FILE}", "simple/index.html", "simple/tiny/index.html"}
    return bundles.make(tmp_path / "bundle", {})


def test_pip_asks_the_served_index(folder: Path, tmp_path: Path) -> None:
    with serving(Bundle.opened(folder), "127.0.0.1") as address:
        done = pip("--index-url", f"{address}/simple/", into=tmp_path / "got")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "got" / FILE).is_file()


def test_pip_reads_the_folder(folder: Path, tmp_path: Path) -> None:
    done = pip("--no-index", "--find-links", str(folder / "wheels"), into=tmp_path / "got")
    assert done.returncode == 0, done.stderr


def test_pip_refuses_an_altered_wheel(folder: Path, tmp_path: Path) -> None:
    bundles.flip(folder / "wheels" / FILE)
    with serving(Bundle.opened(folder), "127.0.0.1") as address:
        done = pip("--index-url", f"{address}/simple/", into=tmp_path / "got")
    assert done.returncode != 0
    assert "DO NOT MATCH" in done.stderr
