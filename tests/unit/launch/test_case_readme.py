"""The generated table in each test case's README."""

import shutil
from pathlib import Path

import pytest

from bakehouse import layout
from bakehouse.errors import CheckError, InputError
from bakehouse.launch import case_readme
from bakehouse.launch.case import load_case


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all test cases, to be spoilt."""
    copy = Path(shutil.copytree(layout.CONTAINERS, tmp_path / "containers"))
    monkeypatch.setattr(layout, "CONTAINERS", copy)
    page = Path(shutil.copy(case_readme.OVERVIEW, tmp_path))
    monkeypatch.setattr(case_readme, "OVERVIEW", page)
    return copy


def test_the_committed_tables_are_up_to_date() -> None:
    assert case_readme.outdated() == {}


def test_a_changed_description_is_noticed_and_then_written(containers: Path) -> None:
    path = containers / "cpu-ddp" / "case.yml"
    path.write_text(path.read_text().replace("accuracy: 0.95", "accuracy: 0.9"))
    with pytest.raises(CheckError, match=r"out of date: .*cpu-ddp/README\.md"):
        case_readme.main(["--check"])
    case_readme.main([])
    assert "at least 0.9 on" in (containers / "cpu-ddp" / "README.md").read_text()
    case_readme.main(["--check"])


def test_a_case_names_the_image_that_is_made_for_gpus() -> None:
    assert "| image for GPUs | `fsdp-gpu` |" in case_readme.table(load_case("fsdp"))
    assert "bakehouse build fsdp-gpu " in case_readme.table(load_case("fsdp"))
    assert "for GPUs" not in case_readme.table(load_case("cpu-ddp"))


def test_nobody_is_told_to_build_what_images_yml_does_not_have() -> None:
    assert "bakehouse build" not in case_readme.table(load_case("nemo-launcher"))


def test_the_page_about_all_cases_says_what_was_seen_of_each(containers: Path) -> None:
    path = containers / "cpu-ddp" / "case.yml"
    path.write_text(path.read_text().replace("how: native", "how: shim"))
    assert case_readme.OVERVIEW in case_readme.outdated()
    case_readme.main([])
    page = case_readme.OVERVIEW.read_text()
    row = next(line for line in page.splitlines() if line.startswith("| [`cpu-ddp`]"))
    assert "| shim: torch's own DistributedDataParallel" in row


def test_the_rest_of_the_readme_is_left_alone(containers: Path) -> None:
    readme = containers / "cpu-ddp" / "README.md"
    readme.write_text(readme.read_text().replace("| `cpu` |", "| spoilt |"))
    readme.write_text("before\n" + readme.read_text() + "after\n")
    case_readme.main([])
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "spoilt" not in text


def test_a_readme_without_markers_says_what_to_add(containers: Path) -> None:
    (containers / "cpu-ddp" / "README.md").write_text("# cpu-ddp\n")
    with pytest.raises(InputError, match="no place for the table") as caught:
        case_readme.outdated()
    assert case_readme.BEGIN in str(caught.value)
