"""The dnf half of the roles, on a system that says it is Amazon Linux 2023.

It is Debian with Debian's dnf and packages made here: this tests our logic (keys, holds,
transactions, idempotence), not Amazon's packages.
"""

from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container
from role_runs import failure, play

pytestmark = [pytest.mark.docker, pytest.mark.slow]

PREPARATION = r"""
set -eu
apt-get -qq update
apt-get -qq install --no-install-recommends \
  dnf python3-dnf rpm createrepo-c gpg gpg-agent >/dev/null
printf '%s\n' 'NAME="Amazon Linux"' 'VERSION="2023"' 'ID="amzn"' 'ID_LIKE="fedora"' \
  'VERSION_ID="2023"' > /etc/os-release
rm /etc/debian_version
echo 'Amazon Linux release 2023 (Amazon Linux)' > /etc/system-release
mkdir -p /etc/yum.repos.d
rpm --initdb
export GNUPGHOME=/root/keys
mkdir -m 700 "$GNUPGHOME"
for name in vendor stranger; do
  gpg --batch --quiet --passphrase '' --quick-generate-key "$name" rsa2048 sign never
  gpg --batch --armor --export "$name" > "/srv/$name.asc"
done
for version in 1 2; do
  for name in kernel kernel6.12 hello tree sl time; do
    printf '%s\n' "Name: $name" "Version: $version" 'Release: 1.fixture' 'Summary: nothing' \
      'License: none' 'BuildArch: noarch' '%description' '%files' > /srv/package.spec
    rpmbuild --quiet --define "_rpmdir /srv/version$version" -bb /srv/package.spec
  done
done
rpmsign --define '_gpg_name vendor' --define '__gpg /usr/bin/gpg' \
  --addsign /srv/version2/noarch/*.rpm >/dev/null
createrepo_c --quiet /srv/version2
cd /srv/version1/noarch
rpm --install --nodeps kernel-1* kernel6.12-1* hello-1* tree-1* sl-1*
"""

OLD, NEW = "1-1.fixture", "2-1.fixture"


@pytest.fixture(scope="module")
def amazon(bare_container: Container) -> Container:
    status, output = bare_container.exec_run(["sh", "-c", PREPARATION])
    assert status == 0, output.decode()
    return bare_container


def bake(amazon: Container, folder: Path, key: str) -> dict[str, Any]:
    """Add the vendor's repository with one of the keys, then update from it."""
    hosts = {"target": {"ansible_connection": "docker", "ansible_host": amazon.name}}
    digest = amazon.exec_run(["sha256sum", f"/srv/{key}.asc"]).output.decode().split()[0]
    record = {
        "version": "2",
        "by_platform": {
            f"amazon2023-{architecture}": {
                "repository": "https://vendor.example/version2",
                "key_url": f"https://vendor.example/{key}.asc",
                "key_sha256": digest,
            }
            for architecture in ("x86_64", "aarch64")
        },
    }
    tasks = [
        {"ansible.builtin.include_role": {"name": "fetch", "tasks_from": "repository"}},
        {"ansible.builtin.include_role": {"name": "packages"}},
    ]
    return play(
        folder,
        hosts,
        tasks,
        fetch_name="vendor",
        fetch_record=record,
        fetch_mirrors={"https://vendor.example/": "file:///srv/"},
        packages_target="container",
        packages_hold=["hell*"],
        packages_install=["time"],
        packages_remove=["sl"],
    )


def versions(amazon: Container) -> dict[str, str]:
    """Installed packages of ours."""
    shown = amazon.exec_run(["rpm", "-qa", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE}\n"])
    pairs = [line.split() for line in shown.output.decode().splitlines()]
    return {name: version for name, version in pairs if "fixture" in version}


# The order of these two matters: what the first refuses, the second installs.
def test_a_repository_signed_by_another_key_is_refused(amazon: Container, tmp_path: Path) -> None:
    before = versions(amazon)
    assert "GPG" in failure(bake(amazon, tmp_path, "stranger"), "target")
    assert versions(amazon) | {"sl": OLD} == before


def test_the_update_replaces_what_is_not_held(amazon: Container, tmp_path: Path) -> None:
    assert failure(bake(amazon, tmp_path, "vendor"), "target") == ""
    assert versions(amazon) == {
        "kernel": OLD,
        "kernel6.12": OLD,
        "hello": OLD,
        "tree": NEW,
        "time": NEW,
    }
    again = bake(amazon, tmp_path, "vendor")
    assert failure(again, "target") == ""
    assert again["stats"]["target"]["changed"] == 0
