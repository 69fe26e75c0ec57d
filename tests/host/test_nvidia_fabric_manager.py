"""What the role nvidia_fabric_manager promises: the driver's version, and no start in vain."""

import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

CONDITION = "/usr/local/libexec/nvidia-fabric-condition"


@pytest.fixture(autouse=True)
def on_a_machine(image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("the host of a container manages the switches")


def test_version_is_the_drivers(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    observed = re.search(r"\d+\.[\d.]+", host.check_output("nv-fabricmanager --version"))
    assert observed is not None
    record_property("nvidia_fabric_manager", observed[0])
    assert observed[0] == stack_versions["nvidia_fabric_manager_release"]
    assert observed[0] == stack_versions["nvidia_driver_release"]


def test_service_starts_on_boot_where_there_are_switches(host: Host) -> None:
    service = host.service("nvidia-fabricmanager")
    assert service.is_enabled
    folders = (CONDITION.rpartition("/")[0], "/etc/systemd/system/nvidia-fabricmanager.service.d")
    assert [host.file(path).mode for path in (CONDITION, *folders)] == [0o755] * 3
    unit = host.check_output("systemctl cat nvidia-fabricmanager.service")
    assert f"ExecCondition={CONDITION}" in unit.splitlines()
    has_switches = host.run(CONDITION).rc == 0
    assert service.is_running <= has_switches


def test_imex_waits_for_its_nodes(host: Host) -> None:
    if not host.service("nvidia-imex").exists:
        pytest.skip("IMEX is not wanted here")
    unit = host.check_output("systemctl cat nvidia-imex.service")
    assert "ConditionFileNotEmpty=/etc/nvidia-imex/nodes_config.cfg" in unit.splitlines()


def test_an_upgrade_leaves_it_with_its_driver(host: Host) -> None:
    if not host.exists("dnf"):
        shown = host.check_output(
            "dpkg-query --show --showformat='${db:Status-Want}\\n' "
            "'nvidia-fabricmanager*' 'libnvidia-nscq*'"
        )
        assert set(shown.split()) == {"hold"}
    else:
        locked = host.file("/etc/dnf/plugins/versionlock.list").content_string
        assert "\nnvidia-fabricmanager-" in locked
        assert "\nlibnvidia-nscq-" in locked
