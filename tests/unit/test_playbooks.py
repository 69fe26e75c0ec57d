"""Playbooks are lists of roles, of their own and of the parts that they import."""

from pathlib import Path

import pytest

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.playbooks import load_playbook

PART = "- hosts: all\n  roles: [one, {role: two}]\n  vars: {speed: 1, size: 2}\n"
WHOLE = "- import_playbook: parts/first.yml\n  vars: {size: 3}\n- hosts: all\n  roles: [three]\n"


@pytest.fixture
def playbooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of playbooks, with one part."""
    monkeypatch.setattr(layout, "PLAYBOOKS", tmp_path)
    monkeypatch.setattr(layout, "STATE", tmp_path / "state")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "first.yml").write_text(PART)
    (tmp_path / "whole.yml").write_text(WHOLE)
    return tmp_path


def test_roles_of_parts_stand_where_the_import_does(playbooks: Path) -> None:
    playbook = load_playbook("whole")
    assert playbook.roles == ("one", "two", "three")
    assert playbook.files == (playbooks / "whole.yml", playbooks / "parts" / "first.yml")


def test_an_imports_variables_override_those_of_the_part(playbooks: Path) -> None:
    assert playbooks.is_dir()
    assert load_playbook("whole").variables == {"speed": 1, "size": 3}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("- import_playbook: parts/gone.yml\n", "there is no part parts/gone.yml"),
        ("- import_playbook: whole.yml\n", "imports itself"),
        ("- hosts: all\n  tasks: []\n", "list of roles"),
        ("- words\n", "list of roles"),
    ],
)
def test_what_is_no_list_of_roles_is_refused(playbooks: Path, text: str, named: str) -> None:
    (playbooks / "whole.yml").write_text(text)
    with pytest.raises(InputError, match=named):
        load_playbook("whole")
