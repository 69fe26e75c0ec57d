"""What the role nvidia_container_toolkit promises: engines know the runtime, GPUs are described."""

import json
import os
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

PACKAGES = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)
IN_ITS_SCENARIO = os.environ.get("MOLECULE_SCENARIO_NAME") == "nvidia_container_toolkit"
SPECIFICATIONS = "/var/run/cdi/*.yaml /etc/cdi/*.yaml"


@pytest.fixture(autouse=True)
def machine(image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("a container uses the toolkit of its host")


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    observed = re.search(r"version ([0-9.]+)", host.check_output("nvidia-ctk --version"))
    assert observed is not None
    record_property("nvidia_container_toolkit", observed[1])
    assert observed[1] == stack_versions["nvidia_container_toolkit_release"]


@pytest.mark.parametrize("package", PACKAGES)
def test_parts_are_of_one_version(host: Host, stack_versions: dict[str, str], package: str) -> None:
    asked = f"rpm --query --queryformat '%{{VERSION}}' {package}"
    otherwise = f"dpkg-query --show --showformat='${{Version}}' {package}"
    shown = host.run(f"{asked} || {otherwise}").stdout
    assert stack_versions["nvidia_container_toolkit_release"] in shown


def test_docker_knows_the_runtime(host: Host) -> None:
    configuration = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert configuration["runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"
    assert configuration["features"]["cdi"] is True
    assert host.exists("nvidia-container-runtime")


def test_dockers_own_settings_are_kept(host: Host) -> None:
    if not host.file("/etc/bakehouse/components.d/docker.json").exists:
        pytest.skip("the role docker has no part in this machine")
    configuration = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert {"log-opts", "data-root", "runtimes"} <= set(configuration)


def test_containerd_knows_the_runtime(host: Host) -> None:
    drop_in = host.file("/etc/containerd/conf.d/99-nvidia.toml")
    if not drop_in.exists and not IN_ITS_SCENARIO:
        pytest.skip("containerd is not among this machine's engines")
    assert "nvidia-container-runtime" in drop_in.content_string
    assert "conf.d/*.toml" in host.file("/etc/containerd/config.toml").content_string


@pytest.mark.parametrize("unit", ["nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service"])
def test_gpus_are_described_at_every_boot(host: Host, unit: str) -> None:
    assert host.service(unit).is_enabled


def test_gpus_of_this_machine_are_described(host: Host) -> None:
    if not host.file("/dev/nvidia0").exists:
        pytest.skip("this machine has no GPU")
    found = host.check_output(
        f"grep --no-messages --files-with-matches nvidia.com/gpu {SPECIFICATIONS}"
    )
    assert found != ""
