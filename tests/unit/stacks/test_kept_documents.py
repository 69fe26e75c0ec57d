"""A file of the repository is parsed once, until it is another."""

from pathlib import Path

import pytest

from bakehouse import layout
from bakehouse.stacks import documents, plain_yaml


@pytest.fixture
def parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A repository of its own, and all that was parsed there."""
    texts: list[str] = []
    parse = plain_yaml.parse

    def count(content: str) -> plain_yaml.Parsed:
        texts.append(content)
        return parse(content)

    monkeypatch.setattr(plain_yaml, "parse", count)
    monkeypatch.setattr(layout, "ROOT", tmp_path / "tree")
    monkeypatch.setattr(layout, "STATE", tmp_path / "state")
    (tmp_path / "tree").mkdir()
    return texts


def test_an_unchanged_file_is_parsed_once(parsed: list[str], tmp_path: Path) -> None:
    file = tmp_path / "tree/a.yml"
    file.write_text("a: 1\n")
    first, again = documents.load(file), documents.load(file)
    assert (first.data, first.lines) == (again.data, again.lines)
    file.write_text("a: 2\n")
    assert documents.load(file).data == {"a": 2}
    assert parsed == ["a: 1\n", "a: 2\n"]


def test_a_file_behind_a_link_of_the_repository_is_parsed_once(
    parsed: list[str], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.yml").write_text("a: 1\n")
    (tmp_path / "tree/linked").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        assert documents.load(tmp_path / "tree/linked/a.yml").data == {"a": 1}
    assert len(parsed) == 1


def test_a_file_of_somebody_else_leaves_nothing(parsed: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("a: 1\n")
    for _ in range(2):
        documents.load(tmp_path / "a.yml")
    assert len(parsed) == 2
    assert not (tmp_path / "state").exists()
