"""Temporary folders of processes that ended well, badly, or not yet."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bakehouse import scratch

HOLDING = """\
from bakehouse import scratch
with scratch.folder("held") as folder:
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDING]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def held(holder: subprocess.Popen[str]) -> Path:
    assert holder.stdout is not None
    return Path(holder.stdout.readline().strip())


def test_a_folder_is_private_and_goes_at_the_end_and_at_an_error(temporary: Path) -> None:
    with scratch.folder("trial") as folder:
        assert folder.parent == temporary
        assert folder.name.startswith("bakehouse-trial-")
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    with pytest.raises(RuntimeError), scratch.folder("trial"):
        raise RuntimeError
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_killed_process_goes_when_the_next_is_made(
    holder: subprocess.Popen[str],
) -> None:
    folder = held(holder)
    (folder / "key").write_text("private")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert folder.is_dir()
    with scratch.folder("next"):
        assert not folder.exists()


def test_the_folder_of_a_running_process_stays(holder: subprocess.Popen[str]) -> None:
    folder = held(holder)
    assert scratch.sweep() == []
    assert folder.is_dir()
    holder.communicate("\n")
    assert not folder.exists()


def test_what_bakehouse_did_not_make_stays(temporary: Path) -> None:
    unmarked = temporary / "bakehouse-notes"
    unmarked.mkdir()
    elsewhere = temporary / "mine"
    elsewhere.mkdir()
    (elsewhere / ".owner").write_text(f"another-boot:{os.getpid()}:1")
    (temporary / "bakehouse-link").symlink_to(elsewhere)
    scratch.sweep()
    assert unmarked.is_dir()
    assert (elsewhere / ".owner").is_file()


def test_another_users_folder_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = temporary / "bakehouse-theirs"
    theirs.mkdir()
    (theirs / ".owner").write_text("another-boot:1:1")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert scratch.sweep() == []
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert scratch.sweep() == [theirs]
