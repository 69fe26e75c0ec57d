"""What the role component promises: a record of each component that is there, and no other."""

import json
import os
from typing import Any

import pytest
from testinfra.host import Host

FOLDER = "/etc/bakehouse/components.d"
KEYS = {"component", "version", "source", "package", "paths"}


@pytest.fixture
def records(host: Host) -> dict[str, dict[str, Any]]:
    """The records by the name of their files."""
    names = host.file(FOLDER).listdir()
    return {name: json.loads(host.file(f"{FOLDER}/{name}").content_string) for name in names}


def test_there_are_records(records: dict[str, dict[str, Any]]) -> None:
    assert records


def test_each_record_is_complete(records: dict[str, dict[str, Any]]) -> None:
    incomplete = {n: sorted(KEYS - set(r)) for n, r in records.items() if not set(r) >= KEYS}
    assert incomplete == {}


def test_each_record_is_named_after_its_component(records: dict[str, dict[str, Any]]) -> None:
    assert {name: f"{record['component']}.json" for name, record in records.items()} == {
        name: name for name in records
    }


def test_every_recorded_path_is_there(host: Host, records: dict[str, dict[str, Any]]) -> None:
    paths = {path for record in records.values() for path in record["paths"]}
    assert sorted(path for path in paths if not host.file(path).exists) == []


@pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "component",
    reason="the package is installed in the molecule scenario only",
)
def test_the_package_is_installed(host: Host) -> None:
    assert host.package("tree").is_installed
