"""What the role node_exporter promises: the stack's exporter, as a service without rights."""

import json
import os
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

RECORD = "/etc/bakehouse/components.d/node_exporter.json"
IN_ITS_SCENARIO = os.environ.get("MOLECULE_SCENARIO_NAME") == "node_exporter"


@pytest.fixture(autouse=True)
def machine(image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("a container is measured by the exporter of its host")


@pytest.fixture
def program(host: Host) -> str:
    """Where the exporter is."""
    paths: list[str] = json.loads(host.file(RECORD).content_string)["paths"]
    return paths[0]


@pytest.fixture
def service(program: str) -> str:
    """The service's name: the distribution's is called as its package."""
    return program.rpartition("/")[2]


def test_version_is_the_stacks(
    host: Host,
    program: str,
    stack_versions: dict[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    shown = host.run(f"{program} --version")
    observed = re.search(r"version ([^ ]+)", shown.stdout + shown.stderr)
    assert observed is not None
    record_property("node_exporter", observed[1])
    wanted = re.escape(stack_versions["node_exporter_release"])
    assert re.match(rf"{wanted}([.+~-]|$)", observed[1])


def test_starts_on_boot(host: Host, service: str) -> None:
    assert host.service(service).is_enabled


def test_runs_without_rights(host: Host, service: str) -> None:
    assert host.user("node_exporter").shell == "/usr/sbin/nologin"
    unit = host.file(f"/etc/systemd/system/{service}.service")
    assert unit.mode == 0o644
    lines = unit.content_string.splitlines()
    assert {"User=node_exporter", "CapabilityBoundingSet=", "ProtectSystem=strict"} <= set(lines)


def test_serves_the_text_files_of_a_folder(host: Host, service: str) -> None:
    unit = host.file(f"/etc/systemd/system/{service}.service").content_string
    named = re.search(r"--collector\.textfile\.directory=(\S+)", unit)
    assert named is not None
    folder = host.file(named[1])
    assert folder.is_directory
    assert folder.mode == 0o755


@pytest.mark.skipif(not IN_ITS_SCENARIO, reason="the options are those of the molecule scenario")
@pytest.mark.parametrize(
    "option",
    [
        "--web.listen-address=127.0.0.1:9100",
        "--collector.processes",
        "--collector.systemd",
        "--no-collector.arp",
        "--collector.textfile.directory=/var/lib/node_exporter/textfile",
    ],
)
def test_options_are_the_data(host: Host, service: str, option: str) -> None:
    unit = host.file(f"/etc/systemd/system/{service}.service").content_string
    assert option in unit.split()


@pytest.mark.skipif(not IN_ITS_SCENARIO, reason="a live node runs it")
def test_baking_does_not_start_it(host: Host, service: str) -> None:
    assert host.run(f"systemctl is-active {service}").stdout.strip() == "inactive"
