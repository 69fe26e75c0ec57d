"""What the role packages promises: updated once, and then left as it is."""

import os

import pytest
from testinfra.host import Host

TIMERS = [
    f"{name}.timer"
    for name in ("apt-daily", "apt-daily-upgrade", "dnf-automatic", "dnf-automatic-install")
]
KERNEL = ["linux-image*", "linux-headers*", "linux-modules*"]

in_molecule = pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "packages",
    reason="the packages that this judges exist in the molecule scenario only",
)


def version(host: Host, package: str) -> str:
    """Installed version, or nothing."""
    shown = host.run(f"dpkg-query --show --showformat='${{Version}}' {package}")
    return str(shown.stdout) if shown.rc == 0 else ""


@pytest.mark.parametrize("pattern", KERNEL)
def test_installed_kernel_packages_are_held(host: Host, pattern: str) -> None:
    if not host.exists("dpkg-query"):
        pytest.skip("no dpkg here")
    shown = host.run(
        "dpkg-query --show --showformat='${Package} ${db:Status-Want} ${db:Status-Status}\\n' "
        f"'{pattern}'"
    )
    installed = [line for line in shown.stdout.splitlines() if line.endswith(" installed")]
    assert [line for line in installed if line.split()[1] != "hold"] == []


def test_no_package_is_half_installed(host: Host) -> None:
    if not host.exists("dpkg"):
        pytest.skip("no dpkg here")
    assert host.check_output("dpkg --audit") == ""


@pytest.mark.parametrize("timer", TIMERS)
def test_the_machine_does_not_update_itself(host: Host, image_target: str, timer: str) -> None:
    if image_target != "machine":
        pytest.skip("a container runs no timers")
    state = host.run(f"systemctl is-enabled {timer}").stdout.strip()
    if state in {"", "not-found"}:
        pytest.skip("no such timer here")
    assert state == "masked"


@pytest.mark.parametrize("package", ["kernel", "kernel-core"])
def test_dnf_does_not_replace_the_kernel(host: Host, package: str) -> None:
    if not host.exists("dnf"):
        pytest.skip("no dnf here")
    lines = host.file("/etc/dnf/dnf.conf").content_string.splitlines()
    kept = [line.partition("=")[2].split() for line in lines if line.startswith("excludepkgs=")]
    assert [package in names for names in kept] == [True]


@in_molecule
@pytest.mark.parametrize("package", ["linux-image-amd64", "hello"])
def test_the_update_left_held_packages_alone(host: Host, package: str) -> None:
    assert version(host, package) == "0+fixture"


@in_molecule
def test_the_update_replaced_the_others(host: Host) -> None:
    assert version(host, "tree") not in {"", "0+fixture"}


@in_molecule
def test_packages_were_removed_and_installed(host: Host) -> None:
    assert version(host, "sl") == ""
    assert version(host, "time") != ""
