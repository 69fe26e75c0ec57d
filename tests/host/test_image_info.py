"""What the role image_info promises: an image knows what it is, and it is what the stack says."""

import json
import re
from typing import Any

import pytest
from testinfra.host import Host

from bakehouse.checks.versions import record_of

IDENTITY = "/etc/bakehouse/image.json"


@pytest.fixture
def identity(host: Host) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(host.file(IDENTITY).content_string)
    return content


def test_identity_may_be_read_by_all_and_written_by_root(host: Host) -> None:
    file = host.file(IDENTITY)
    assert (file.user, file.mode) == ("root", 0o644)


@pytest.mark.parametrize(
    "key", ["image", "kind", "target", "build", "commit", "stack", "components", "os"]
)
def test_identity_has(identity: dict[str, Any], key: str) -> None:
    assert identity[key]


def test_target_is_the_one_that_was_baked(identity: dict[str, Any], image_target: str) -> None:
    assert identity["target"] == image_target


def test_operating_system_is_the_one_that_runs(host: Host, identity: dict[str, Any]) -> None:
    assert host.system_info.distribution == identity["os"]["id"]
    assert host.system_info.arch == identity["os"]["architecture"]


def test_components_are_of_the_stacks_versions(
    identity: dict[str, Any], stack_versions: dict[str, str]
) -> None:
    observed = {record_of(c): c["version"] for c in identity["components"]}
    compared = {name: version for name, version in observed.items() if name in stack_versions}
    assert compared
    wrong = {
        name: version
        for name, version in compared.items()
        if not re.match(re.escape(stack_versions[name]) + r"($|[.+~-])", version)
    }
    assert wrong == {}
