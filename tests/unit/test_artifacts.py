"""What tests make stays only with --keep-artifacts=t; else what stays fails the session."""

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from bakehouse import engine

NOTHING_MADE = """
def test_makes_a_file(tmp_path):
    (tmp_path / "made.txt").write_text("made")
"""
TIDY = """
import pytest
@pytest.mark.docker
def test_makes_a_volume(keep_artifacts, tmp_path):
    from bakehouse import engine
    volume = engine.connect().volumes.create("{name}")
    if not keep_artifacts:
        volume.remove()
"""
UNTIDY = """
import pytest
@pytest.mark.docker
def test_forgets_a_volume():
    from bakehouse import engine
    engine.connect().volumes.create("{name}")
"""


@pytest.fixture
def volume() -> Iterator[str]:
    """Name of a volume; it goes in the end."""
    name = f"bakehouse-test-{uuid4().hex[:8]}"
    yield name
    for found in engine.connect().volumes.list(filters={"name": name}):
        found.remove()


def volumes(name: str) -> list[str]:
    return [found.name for found in engine.connect().volumes.list(filters={"name": name})]


def made_files(session: pytest.Pytester) -> list[Path]:
    return list(session.path.joinpath("tmp").rglob("made.txt"))


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ([], 0),
        (["--keep-artifacts=f"], 0),
        (["--keep-artifacts=F"], 0),
        (["--keep-artifacts=t"], 1),
    ],
)
def test_files_stay_only_when_asked_for(
    session: pytest.Pytester, options: list[str], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (session.path / "tmp").mkdir()
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(session.path / "tmp"))
    session.makepyfile(NOTHING_MADE)
    # Not runpytest(): it names a folder for files itself.
    assert session.run(sys.executable, "-m", "pytest", *options).ret == 0
    assert len(made_files(session)) == kept


def test_a_value_that_is_neither_yes_nor_no_is_refused(session: pytest.Pytester) -> None:
    session.makepyfile(NOTHING_MADE)
    result = session.runpytest_subprocess("--keep-artifacts=maybe")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--keep-artifacts=maybe: give t or f*"])


@pytest.mark.docker
def test_what_a_test_forgets_fails_the_session_by_name(
    session: pytest.Pytester, volume: str
) -> None:
    session.makepyfile(UNTIDY.format(name=volume))
    result = session.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"*tests left behind: volume {volume}*"])


@pytest.mark.docker
@pytest.mark.parametrize(("value", "kept"), [("f", False), ("t", True)])
def test_things_of_docker_stay_only_when_asked_for(
    session: pytest.Pytester, volume: str, value: str, kept: bool
) -> None:
    session.makepyfile(TIDY.format(name=volume))
    result = session.runpytest_subprocess(f"--keep-artifacts={value}")
    result.assert_outcomes(passed=1)
    assert volumes(volume) == ([volume] if kept else [])
