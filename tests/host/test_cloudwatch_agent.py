"""What the role cloudwatch_agent promises of a machine: an agent that starts on boot."""

import json
import os
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

FOLDER = "/opt/aws/amazon-cloudwatch-agent"
CONFIGURATION = f"{FOLDER}/etc/amazon-cloudwatch-agent.json"
IDENTITY = (f"{FOLDER}/logs/state", f"{FOLDER}/etc/env-config.json")


@pytest.fixture(autouse=True)
def machine(image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("an agent manages machines, not containers")


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    observed = re.search(r"^([0-9][\w.]*)", host.check_output(f"cat {FOLDER}/bin/CWAGENT_VERSION"))
    assert observed is not None
    record_property("cloudwatch_agent", observed[1])
    kind = "" if host.system_info.distribution in {"debian", "ubuntu"} else "_distribution"
    assert observed[1] == stack_versions[f"cloudwatch_agent{kind}_release"]


def test_it_starts_on_boot(host: Host) -> None:
    assert host.service("amazon-cloudwatch-agent").is_enabled


@pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "cloudwatch_agent", reason="a live node runs it"
)
def test_baking_does_not_start_it(host: Host) -> None:
    assert host.run("systemctl is-active amazon-cloudwatch-agent").stdout.strip() == "inactive"
    assert [path for path in IDENTITY if host.file(path).exists] == []


@pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "cloudwatch_agent", reason="the scenario's own"
)
def test_configuration_is_what_was_asked_for(host: Host) -> None:
    file = host.file(CONFIGURATION)
    assert (file.user, file.mode) == ("root", 0o644)
    assert host.file(f"{FOLDER}/etc").mode == 0o755
    assert json.loads(file.content_string) == {"agent": {"run_as_user": "root"}}


def test_it_has_no_key(host: Host) -> None:
    assert not host.file("/root/.aws/credentials").exists
