"""What the role fetch leaves behind: whole trees, and nothing that is not whole."""

import os

import pytest
from testinfra.host import Host

in_molecule = pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "fetch",
    reason="the tool is fetched in the molecule scenario only",
)


@pytest.mark.parametrize("pattern", [".*.part", "*.unpacking"])
def test_nothing_half_done_is_left(host: Host, pattern: str) -> None:
    found = host.run(f"find / -xdev -path /proc -prune -o -name '{pattern}' -print")
    assert found.rc == 0
    assert found.stdout == ""


@in_molecule
def test_the_tree_is_at_its_destination(host: Host) -> None:
    tool = host.file("/opt/tool-1.0/tool-1.0/tool")
    assert tool.content_string == "tool 1.0\n"
    assert tool.mode == 0o755


@in_molecule
def test_the_tree_belongs_to_root_whoever_packed_it(host: Host) -> None:
    assert host.file("/opt/tool-1.0/tool-1.0/tool").user == "root"
    assert host.file("/opt/tool-1.0/tool-1.0").group == "root"


@in_molecule
def test_the_archive_is_not_kept(host: Host) -> None:
    assert host.file("/var/cache/bakehouse").listdir() == []
