"""What the role base promises of a machine or container."""

import pytest
from testinfra.host import Host


@pytest.fixture
def machine(image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("belongs to the machine that runs the container")


def test_time_zone_is_one_that_exists(host: Host) -> None:
    zone = host.file("/etc/localtime")
    assert zone.is_symlink
    assert host.file(zone.linked_to).is_file


def test_locale_is_one_that_the_system_has(host: Host) -> None:
    shown = host.run(". /etc/default/locale 2>/dev/null || . /etc/locale.conf; echo $LANG")
    name = shown.stdout.strip()
    assert name.endswith(".UTF-8")
    assert host.run(f"LC_ALL={name} locale charmap").stdout.strip() == "UTF-8"
    assert not host.run(f"LC_ALL={name} locale charmap").stderr
