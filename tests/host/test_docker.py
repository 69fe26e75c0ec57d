"""What the role docker promises of a machine."""

import json
import os
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

from bakehouse.checks.versions import record_of

RECORD = "/etc/bakehouse/components.d/docker.json"


@pytest.fixture(autouse=True)
def machine(image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("a container uses the engine of its host")


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    observed = re.search(r"version ([^,]+)", host.check_output("dockerd --version"))
    assert observed is not None
    record_property("docker", observed[1])
    promised = stack_versions[record_of(json.loads(host.file(RECORD).content_string))]
    assert re.match(rf"{re.escape(promised)}([.+~-]|$)", observed[1])


def test_record_says_what_is_there(host: Host) -> None:
    record = json.loads(host.file(RECORD).content_string)
    assert f"version {record['version']}," in host.check_output("dockerd --version")
    assert [path for path in record["paths"] if not host.file(path).is_file] == []


def test_engine_starts_on_boot(host: Host) -> None:
    assert host.service("docker").is_enabled


@pytest.mark.parametrize(("path", "mode"), [("", 0o755), ("/daemon.json", 0o644)])
def test_configuration_may_be_read_by_all(host: Host, path: str, mode: int) -> None:
    assert host.file(f"/etc/docker{path}").mode == mode


def test_logs_of_containers_are_bounded(host: Host) -> None:
    configuration = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert re.fullmatch(r"\d+[kmg]", configuration["log-opts"]["max-size"])
    assert int(configuration["log-opts"]["max-file"]) >= 1


@pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "docker",
    reason="the user exists in the molecule scenario only",
)
def test_named_users_are_in_the_group(host: Host) -> None:
    assert set(host.user("trainee").groups) >= {"docker", "users"}


@pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "docker",
    reason="a live node runs it",
)
def test_baking_does_not_start_the_engine(host: Host) -> None:
    assert host.run("systemctl is-active docker.service").stdout.strip() == "inactive"
