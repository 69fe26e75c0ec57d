"""What a test case adds to its base image: the closure of its record in the stack."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

PYTHON = "/opt/venv/bin/python"
LISTING = (
    "import json, re; from importlib import metadata; "
    "print(json.dumps({re.sub('[-_.]+', '-', d.metadata['Name']).lower(): d.version "
    "for d in metadata.distributions()}))"
)


@pytest.fixture
def record_name() -> str:
    name = os.environ.get("BAKEHOUSE_CASE_RECORD", "")
    if not name:
        pytest.fail("BAKEHOUSE_CASE_RECORD names no record of the stack, such as cpu_ddp_release")
    return name


def test_closure_is_the_stacks(
    host: Host,
    stack_variables: dict[str, Any],
    record_name: str,
    record_property: Callable[[str, object], None],
) -> None:
    present = json.loads(host.check_output(f'{PYTHON} -c "{LISTING}"'))
    wanted = {r["name"]: r["version"] for r in stack_variables[record_name]["requirements"]}
    itself = next(iter(wanted))
    record_property(record_name.removesuffix("_release"), present.get(itself))
    assert {name: present.get(name) for name in wanted} == wanted
