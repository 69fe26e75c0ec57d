"""Wheels are taken only if they are what their record promises."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from bakehouse import layout
from bakehouse.builder import wheelhouse
from bakehouse.errors import DownloadError
from bakehouse.stacks.stack import Stack, load_stack


def make_wheel(folder: Path, name: str) -> Path:
    """A wheel with one empty module."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    metadata = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(
            f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(f"{metadata}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{metadata}/RECORD", "")
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is this host's only index, with one wheel."""
    folder = tmp_path / "index"
    folder.mkdir()
    make_wheel(folder, "tiny")
    monkeypatch.setattr(layout, "STATE", tmp_path / "state")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def stack(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack that has the wheel."""
    path = tmp_path / "tiny.yml"
    path.write_text(
        "---\npytorch_release:\n  version: '1.0'\n  requirements:\n    - name: tiny\n"
        f"      version: '1.0'\n      sha256: [{digest(next(index.iterdir()))}]\n"
    )
    monkeypatch.setattr(layout, "STACKS", tmp_path)
    return load_stack("tiny")


def test_the_promised_wheel_is_there_and_is_not_fetched_twice(index: Path, stack: Stack) -> None:
    folder = wheelhouse.prepare(stack)
    assert [path.name for path in folder.glob("*.whl")] == ["tiny-1.0-py3-none-any.whl"]
    next(index.iterdir()).unlink()
    assert wheelhouse.prepare(stack) == folder


def test_one_flipped_byte_is_refused_and_nothing_is_left(index: Path, stack: Stack) -> None:
    path = next(index.iterdir())
    promised = digest(path)
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DownloadError) as failure:
        wheelhouse.prepare(stack)
    assert promised in str(failure.value)
    assert digest(path) in str(failure.value)
    assert list((layout.STATE / "wheelhouse").glob("*")) == []


def test_a_version_that_has_vanished_is_no_other_version(index: Path, stack: Stack) -> None:
    path = next(index.iterdir())
    path.rename(index / "tiny-1.1-py3-none-any.whl")
    with pytest.raises(DownloadError, match=r"tiny==1\.0"):
        wheelhouse.prepare(stack)
    assert list((layout.STATE / "wheelhouse").glob("*")) == []


def test_the_controller_is_in_our_lock_with_digests_and_without_what_it_does_not_need() -> None:
    lines = wheelhouse.controller_lines()
    names = {line.split("==")[0] for line in lines}
    assert {"ansible-core", "mitogen", "jinja2"} <= names
    assert "cryptography" not in names
    assert all("--hash=sha256:" in line for line in lines)


def test_a_wheel_without_a_digest_is_not_even_fetched(stack: Stack) -> None:
    text = stack.path.read_text()
    reason = "{reason: none is known, link: 'https://vendor.example/', review_by: 2999-01-01}"
    without = text.partition("      sha256:")[0]
    stack.path.write_text(f"{without}  unlocked: {reason}\n")
    with pytest.raises(DownloadError, match="no digests of tiny") as failure:
        wheelhouse.prepare(load_stack("tiny"))
    assert "bakehouse stack lock tiny" in str(failure.value.remedy)
    assert not (layout.STATE / "wheelhouse").exists()
