"""What a release of Packer gets to read."""

import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.version import Version

from bakehouse import layout
from bakehouse.errors import HostError
from bakehouse.machines import template

DEBIANS = Version("1.6.6")
KNOWS_ALL = shutil.which("packer") is None or template.installed() >= template.SINCE
DROPPED = [(file, name) for file, names in template.DROPPED.items() for name in names]


def test_a_present_packer_reads_the_template_itself(tmp_path: Path) -> None:
    assert template.readable(tmp_path / "copy", Version("1.14.0")) == layout.PACKER
    assert not (tmp_path / "copy").exists()


def test_the_list_is_all_that_an_old_packer_misses(tmp_path: Path) -> None:
    copy = template.readable(tmp_path / "copy", DEBIANS)
    for path in layout.PACKER.glob("*.pkr.hcl"):
        text = path.read_text()
        for file, name in DROPPED:
            text = template.without(text, name) if file == path.name else text
        assert (copy / path.name).read_text() == text


@pytest.mark.lengthy
@pytest.mark.skipif(KNOWS_ALL, reason="no Packer here, or one that knows them all")
@pytest.mark.parametrize(("file", "name"), DROPPED)
def test_an_old_packer_really_refuses_each(
    tmp_path: Path, file: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tuple(other for of, other in DROPPED if of == file and other != name)
    monkeypatch.setitem(template.DROPPED, file, others)
    copy = template.readable(tmp_path / "copy", DEBIANS)
    command = ["packer", "validate", "-var", f"root={layout.ROOT}", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert f'"{name}" is not expected here' in said or f'"{name}" are not expected here' in said


def test_a_packer_that_cannot_read_it_is_told() -> None:
    with pytest.raises(HostError, match=r"1\.5\.0 is too old"):
        template.readable(Path("/nowhere"), Version("1.5.0"))


def test_what_is_dropped_must_be_there() -> None:
    with pytest.raises(ValueError, match="boot_mode is there 0 times"):
        template.without('source "amazon-ebs" "machine" {\n  region = "x"\n}\n', "boot_mode")


def test_blocks_and_arguments_go_whole() -> None:
    text = 'a "b" {\n  keep = 1\n  gone {\n    x = 1\n  }\n  other = 2\n}\n'
    assert template.without(text, "gone") == 'a "b" {\n  keep = 1\n  other = 2\n}\n'
    assert template.without(text, "other") == text.replace("  other = 2\n", "")
