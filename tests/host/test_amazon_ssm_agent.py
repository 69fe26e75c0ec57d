"""What the role amazon_ssm_agent promises of a machine: an agent that starts on boot, as nobody."""

import json
import os
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

FOLDER = "/etc/amazon/ssm"
CONFIGURATION = f"{FOLDER}/amazon-ssm-agent.json"
IDENTITY = ("/var/lib/amazon/ssm/Vault", "/var/lib/amazon/ssm/ipc")


@pytest.fixture(autouse=True)
def machine(image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("an agent manages machines, not containers")


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    observed = re.search(r"version: *([0-9.]+)", host.check_output("amazon-ssm-agent -version"))
    assert observed is not None
    record_property("amazon_ssm_agent", observed[1])
    kind = "" if host.system_info.distribution in {"debian", "ubuntu"} else "_distribution"
    assert observed[1] == stack_versions[f"amazon_ssm_agent{kind}_release"]


def test_it_starts_on_boot(host: Host) -> None:
    assert host.service("amazon-ssm-agent").is_enabled


@pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "amazon_ssm_agent", reason="a live node runs it"
)
def test_baking_does_not_start_it(host: Host) -> None:
    assert host.run("systemctl is-active amazon-ssm-agent").stdout.strip() == "inactive"
    assert [path for path in IDENTITY if host.file(path).exists] == []


@pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "amazon_ssm_agent", reason="the scenario's own"
)
def test_configuration_is_what_was_asked_for(host: Host) -> None:
    file = host.file(CONFIGURATION)
    assert (file.user, file.mode) == ("root", 0o644)
    assert host.file(FOLDER).mode == 0o755
    assert json.loads(file.content_string) == {"Ssm": {"HealthFrequencyMinutes": 5}}


def test_it_has_no_key(host: Host) -> None:
    assert not host.file("/root/.aws/credentials").exists
