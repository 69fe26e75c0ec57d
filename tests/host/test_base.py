"""What the role base promises of a machine or container."""

import os
import re

import pytest
from testinfra.host import Host

LOCALE_FILES = ("/etc/default/locale", "/etc/locale.conf")
SYSCTL = "/etc/sysctl.d/90-bakehouse.conf"


@pytest.fixture
def machine(image_target: str) -> None:
    """Skip what a container leaves to the machine that runs it."""
    if image_target != "machine":
        pytest.skip("belongs to the machine that runs the container")


def settings(host: Host) -> dict[str, str]:
    """Kernel settings as the file has them."""
    lines = host.file(SYSCTL).content_string.splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    return {key.strip(): value.strip() for key, value in pairs}


def test_time_zone_is_one_that_exists(host: Host) -> None:
    zone = host.file("/etc/localtime")
    assert zone.is_symlink
    assert host.file(zone.linked_to).is_file


@pytest.mark.skipif(
    os.environ.get("MOLECULE_SCENARIO_NAME") != "base",
    reason="the time zone is known in the molecule scenario only",
)
def test_time_zone_is_the_one_that_was_asked_for(host: Host) -> None:
    assert host.file("/etc/localtime").linked_to == "/usr/share/zoneinfo/Europe/Berlin"
    assert host.file("/etc/timezone").content_string == "Europe/Berlin\n"


def test_locale_may_be_read_by_all(host: Host) -> None:
    names = [path for path in LOCALE_FILES if host.file(path).exists]
    assert [oct(host.file(name).mode) for name in names] == ["0o644"] * len(names)


def test_locale_is_one_that_the_system_has(host: Host) -> None:
    files = [host.file(path) for path in LOCALE_FILES if host.file(path).exists]
    set_to = [re.findall(r"^LANG=(\S+)$", file.content_string, re.MULTILINE) for file in files]
    assert [len(names) for names in set_to] == [1] * len(files)
    (name,) = {names[0] for names in set_to}
    charmap = host.run(f"LC_ALL={name} locale charmap")
    assert charmap.stdout.strip() == "UTF-8"
    assert charmap.stderr == ""


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    "path",
    [
        SYSCTL,
        "/etc/modules-load.d/bakehouse.conf",
        "/etc/tmpfiles.d/bakehouse.conf",
        "/etc/security/limits.d/90-bakehouse.conf",
        "/etc/systemd/system.conf.d/90-bakehouse.conf",
    ],
)
def test_settings_are_roots_and_may_be_read_by_all(host: Host, path: str) -> None:
    assert (host.file(path).user, host.file(path).mode) == ("root", 0o644)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("net.core.default_qdisc", "fq"),
        ("net.ipv4.tcp_congestion_control", "bbr"),
        ("net.core.rmem_max", "67108864"),
        ("net.core.wmem_max", "67108864"),
    ],
)
def test_kernel_is_set_for_fast_networks(host: Host, key: str, value: str) -> None:
    assert settings(host)[key] == value


@pytest.mark.usefixtures("machine")
def test_every_line_sets_one_setting(host: Host) -> None:
    lines = host.file(SYSCTL).content_string.splitlines()
    wrong = [line for line in lines if not re.fullmatch(r"(#.*)?|[a-z0-9_.]+ = [a-z0-9 ]+", line)]
    assert wrong == []
    assert len(settings(host)) == len([line for line in lines if line and line[0] != "#"])


@pytest.mark.usefixtures("machine")
def test_time_stamps_stay_on(host: Host) -> None:
    # BBR measures the path's delay with them.
    assert settings(host).get("net.ipv4.tcp_timestamps", "1") == "1"


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("key", ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"])
def test_buffers_grow_from_least_to_most_in_whole_pages(host: Host, key: str) -> None:
    sizes = [int(size) for size in settings(host)[key].split()]
    assert len(sizes) == 3
    assert sizes == sorted(sizes)
    assert [size for size in sizes if size % 4096] == []


@pytest.mark.usefixtures("machine")
def test_module_of_the_congestion_control_is_loaded_on_boot(host: Host) -> None:
    modules = host.file("/etc/modules-load.d/bakehouse.conf").content_string.splitlines()
    assert f"tcp_{settings(host)['net.ipv4.tcp_congestion_control']}" in modules


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("who", ["*", "root"])
@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_logins_may_lock_all_memory(host: Host, who: str, kind: str) -> None:
    lines = host.file("/etc/security/limits.d/90-bakehouse.conf").content_string.splitlines()
    assert f"{who} {kind} memlock unlimited" in lines


@pytest.mark.usefixtures("machine")
def test_services_may_lock_all_memory(host: Host) -> None:
    drop_in = host.file("/etc/systemd/system.conf.d/90-bakehouse.conf").content_string
    assert "DefaultLimitMEMLOCK=infinity:infinity" in drop_in.splitlines()


@pytest.mark.usefixtures("machine")
def test_huge_pages_are_given_as_asked(host: Host) -> None:
    drop_in = host.file("/etc/tmpfiles.d/bakehouse.conf").content_string
    assert "/sys/kernel/mm/transparent_hugepage/enabled - - - - " in drop_in


@pytest.mark.usefixtures("machine")
def test_time_is_kept(host: Host) -> None:
    names = ["chrony", "chronyd"]
    assert [name for name in names if host.service(name).is_enabled]
