"""What the layer of a test case is made of."""

import shutil
from pathlib import Path

import pytest

from bakehouse import layout
from bakehouse.builder.plan import Layer, case_layer
from bakehouse.errors import InputError
from bakehouse.stacks.stack import load_stack


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the test cases, with one whose description asks for a shared folder."""
    copy = Path(shutil.copytree(layout.CONTAINERS, tmp_path / "containers"))
    shutil.rmtree(copy / "shared")
    (copy / "shared" / "reading").mkdir(parents=True)
    (copy / "shared" / "reading" / "__init__.py").write_text("")
    (copy / "shared" / "reading" / "text.py").write_text("WORDS = 3\n")
    description = copy / "cpu-ddp" / "case.yml"
    text = description.read_text().replace("entry_point:", "shared: [reading]\nentry_point:")
    description.write_text(text)
    monkeypatch.setattr(layout, "CONTAINERS", copy)
    monkeypatch.setattr(layout, "SHARED", copy / "shared")
    return copy


def layer() -> Layer:
    return case_layer("cpu-ddp", load_stack("cpu"), "below")


def test_shared_folders_lie_beside_the_entry_point(containers: Path) -> None:
    files = layer().files
    assert files["reading/text.py"] == containers / "shared" / "reading" / "text.py"
    assert {"train.py", "Dockerfile", "reading/__init__.py"} < set(files)


def test_a_case_that_shares_nothing_has_nothing_shared(containers: Path) -> None:
    description = containers / "cpu-ddp" / "case.yml"
    description.write_text(description.read_text().replace("shared: [reading]\n", ""))
    assert not [name for name in layer().files if name.startswith("reading")]


def test_a_change_of_a_shared_file_changes_the_layer(containers: Path) -> None:
    before = layer().key
    (containers / "shared" / "reading" / "text.py").write_text("WORDS = 4\n")
    assert layer().key != before


def test_a_shared_folder_that_is_not_there_is_an_error(containers: Path) -> None:
    shutil.rmtree(containers / "shared" / "reading")
    with pytest.raises(InputError, match=r"there is no file reading/__init__\.py"):
        layer()
