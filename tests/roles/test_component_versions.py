"""The role component where a repository has more than the stack's version of a package."""

from pathlib import Path

import pytest
from docker.models.containers import Container
from role_runs import changed, failure, play

pytestmark = pytest.mark.docker

REPOSITORY = r"""
set -eu
apt-get -qq update && apt-get -qq install --no-install-recommends apt-utils >/dev/null
mkdir -p /srv/tool/DEBIAN /srv/repository
for version in 1:1.0-1 1:2.0-1; do
  printf '%s\n' 'Package: tool' "Version: $version" 'Architecture: all' 'Maintainer: nobody' \
    'Description: nothing' > /srv/tool/DEBIAN/control
  dpkg-deb --build /srv/tool /srv/repository >/dev/null
done
cd /srv/repository
apt-ftparchive packages . > Packages
echo 'deb [trusted=yes] file:/srv/repository ./' > /etc/apt/sources.list.d/tool.list
"""


@pytest.fixture(scope="module")
def machine(bare_container: Container) -> Container:
    """A machine that may have version 1.0 or 2.0 of a package."""
    status, output = bare_container.exec_run(["sh", "-c", REPOSITORY])
    assert status == 0, output.decode()
    return bare_container


@pytest.mark.parametrize("epoch", ["1:", "*:", "*"])
def test_the_stacks_version_is_installed_and_kept_though_there_is_a_newer_one(
    machine: Container, tmp_path: Path, epoch: str
) -> None:
    hosts = {"target": {"ansible_connection": "docker", "ansible_host": machine.name}}
    given = {
        "component_name": "tool",
        "component_release": {"version": "1.0", "package": "tool"},
        "component_epoch": epoch,
        "component_keep": True,
    }
    included = [{"ansible.builtin.include_role": {"name": "component"}}]
    assert failure(play(tmp_path, hosts, included, **given), "target") == ""
    assert installed(machine) == "1:1.0-1"
    machine.exec_run(["apt-get", "-qq", "--yes", "upgrade"])
    assert installed(machine) == "1:1.0-1"
    assert changed(play(tmp_path, hosts, included, **given), "target") == []
    machine.exec_run(["sh", "-c", "dpkg --purge tool; rm /etc/apt/preferences.d/tool"])


def installed(machine: Container) -> str:
    """The package's version."""
    shown = machine.exec_run(["dpkg-query", "--show", "--showformat=${Version}", "tool"])
    return str(shown.output.decode())
