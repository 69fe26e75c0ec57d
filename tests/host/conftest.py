"""What the tests of a host are told: the stack it was made from, and what it was made for."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these tests out unless a host was named: they would judge the developer's machine."""
    if (
        not config.getoption("--hosts")
        and collection_path.parent == HERE
        and collection_path.name.startswith("test_")
    ):
        return True
    return None


@pytest.fixture(scope="session")
def stack_variables() -> dict[str, Any]:
    """The stack's records, as Ansible saw them."""
    path = os.environ.get("BAKEHOUSE_STACK_FILE")
    if not path:
        pytest.fail("BAKEHOUSE_STACK_FILE names no file with the stack's variables (JSON)")
    variables: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return variables


@pytest.fixture(scope="session")
def stack_versions(stack_variables: dict[str, Any]) -> dict[str, str]:
    """Version of each record: `<component>_release` -> version."""
    return {
        name: record["version"]
        for name, record in stack_variables.items()
        if name.endswith("_release")
    }


@pytest.fixture(scope="session")
def image_target() -> str:
    """What the host was baked as: "machine" or "container"."""
    target = os.environ.get("BAKEHOUSE_TARGET", "")
    if target not in {"machine", "container"}:
        pytest.fail(f"BAKEHOUSE_TARGET is {target!r}; it must be machine or container")
    return target


@pytest.fixture
def package_is_there(host: Host) -> Callable[[str], bool]:
    """Whether either package manager knows a package; what stands in for a system has both."""

    def ask(package: str) -> bool:
        known = f"dpkg-query -W -f '${{db:Status-Abbrev}}' {package} 2>/dev/null | grep -q '^ii'"
        return host.run(f"rpm --query --quiet {package} 2>/dev/null || {known}").rc == 0

    return ask
