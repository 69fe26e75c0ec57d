"""What the role nvidia_driver promises: one version in every kernel and in the libraries, kept."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

RECORD = "/etc/bakehouse/components.d/nvidia_driver.json"
IN_VERSION = r"\.so\.([0-9.]+)$"


@pytest.fixture
def driver(host: Host, image_target: str) -> dict[str, Any]:
    """The role's record; a container usually has none."""
    if not host.file(RECORD).exists and image_target == "container":
        pytest.skip("a container uses the driver of its host")
    found: dict[str, Any] = json.loads(host.file(RECORD).content_string)
    return found


@pytest.fixture
def kernels(host: Host, image_target: str) -> list[str]:
    """Every kernel that is installed, whichever runs."""
    if image_target != "machine":
        pytest.skip("a container has no kernel")
    found = host.check_output("ls -d /lib/modules/*/modules.builtin").split()
    assert found != []
    return [path.split("/")[3] for path in found]


def test_every_kernel_has_the_stacks_modules(
    host: Host,
    kernels: list[str],
    stack_versions: dict[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    expected = stack_versions["nvidia_driver_release"]
    record = json.loads(host.file(RECORD).content_string)
    # As Debian calls its own, whose modules can lie beside older ones.
    name = "nvidia-current" if record["package"] == "nvidia-smi" else "nvidia"
    found = {k: host.run(f"modinfo -k {k} --field version {name}").stdout.strip() for k in kernels}
    record_property("nvidia_driver", ", ".join(sorted(set(found.values()))))
    assert found == dict.fromkeys(kernels, expected)


def test_libraries_are_of_the_modules_version(
    driver: dict[str, Any], stack_versions: dict[str, str]
) -> None:
    found = {match[1] for path in driver["paths"] if (match := re.search(IN_VERSION, path))}
    assert found == {stack_versions["nvidia_driver_release"]}


def test_what_runs_is_what_is_installed(host: Host, stack_versions: dict[str, str]) -> None:
    running = host.file("/proc/driver/nvidia/version")
    if not running.exists:
        pytest.skip("the driver is not loaded: there is no GPU, or another machine's kernel runs")
    assert stack_versions["nvidia_driver_release"] in running.content_string


def test_nouveau_stays_away(host: Host, kernels: list[str]) -> None:
    assert kernels
    assert host.file("/etc/modprobe.d/nvidia_driver.conf").mode == 0o644
    configured = host.check_output("modprobe --showconfig").splitlines()
    assert "blacklist nouveau" in configured
    assert "options nouveau modeset=0" in configured


@pytest.mark.parametrize("unit", ["nvidia-persistenced", "nvidia-driver-settings"])
def test_units_start_on_boot(host: Host, kernels: list[str], unit: str) -> None:
    assert kernels
    described = host.file(f"/etc/systemd/system/{unit}.service")
    if described.exists and "ExecStart=/bin/true" in described.content_string:
        pytest.skip("nothing is set on boot")
    assert host.service(unit).is_enabled


def test_an_upgrade_leaves_driver_and_kernels_alone(
    host: Host, kernels: list[str], driver: dict[str, Any]
) -> None:
    assert kernels
    if not host.exists("dnf"):
        # A pattern that nothing matches makes it end with 1.
        shown = host.run(
            "dpkg-query --show --showformat='${Package} ${db:Status-Want} ${db:Status-Status}\\n' "
            "'linux-image*' '*nvidia*dkms*' '*nvidia-compute-utils*' 'nvidia-persistenced*'"
        ).stdout
        installed = [line.split() for line in shown.splitlines() if line.endswith(" installed")]
        by_package = not driver["package"].endswith(".run")
        assert len(installed) >= len(kernels) + by_package
        assert [name for name, want, _ in installed if want != "hold"] == []
    else:
        locked = host.file("/etc/dnf/plugins/versionlock.list").content_string
        names = host.check_output("rpm --query --all 'kmod-nvidia*' kernel 'kernel[0-9]*'").split()
        names = [name for name in names if "-devel-" not in name]
        assert len(names) > 1
        assert [n for n in names if re.sub(r"-[^-]+-[^-]+$", "", n) not in locked] == []


def test_a_newer_driver_is_no_candidate(
    host: Host, kernels: list[str], driver: dict[str, Any]
) -> None:
    assert kernels
    if host.exists("dnf"):
        pytest.skip("the lock is a list here")
    if driver["package"].endswith(".run"):
        pytest.skip("no package manager knows this driver")
    policy = host.check_output(f"apt-cache policy {driver['package']}")
    assert " 1001\n" in policy
