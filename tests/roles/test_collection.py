"""The roles as a collection: packed, installed into an empty environment, used by three lines."""

import hashlib
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
from docker.models.containers import Container
from role_runs import PROGRAMS

from bakehouse import collection
from bakehouse.layout import ROLES, STACKS, STATE

# Packages from the distribution through `component`; a module and a filter of `fetch`.
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  roles: [bakehouse.training.python, bakehouse.training.fetch]
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collection.build(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def elsewhere(archive: Path, tmp_path: Path) -> dict[str, str]:
    """An environment that knows Ansible and the collection, and nothing of the repository."""
    environment = {
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        # The second is only how this test reaches its container; the roles need no other.
        "ANSIBLE_COLLECTIONS_PATH": f"{tmp_path}/collections:{STATE}/collections",
        "ANSIBLE_TRANSPORT": "community.docker.docker",
        "LC_ALL": "C.UTF-8",
    }
    command = ["ansible-galaxy", "collection", "install", "--offline", str(archive)]
    command += ["--collections-path", f"{tmp_path}/collections"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    return environment


def test_every_role_is_in_it(archive: Path) -> None:
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    mains = {name.split("/")[1] for name in names if name.endswith("/tasks/main.yml")}
    assert mains == {path.name for path in ROLES.iterdir() if path.is_dir()}
    plugins = re.compile("roles/.*/(library|filter_plugins|module_utils)/")
    assert [name for name in names if plugins.match(name)] == []


@pytest.mark.docker
def test_three_lines_converge(
    elsewhere: dict[str, str], bare_container: Container, tmp_path: Path
) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    content = "tool\n"
    bare_container.exec_run(["sh", "-c", "mkdir -p /srv/mirror && echo tool > /srv/mirror/tool"])
    given = {
        "ansible_host": bare_container.name,
        "ansible_python_interpreter": "/usr/bin/python3",
        "bakehouse_target": "container",
        "fetch_name": "tool",
        "fetch_record": {
            "version": "1",
            "url": "https://vendor.example/tool",
            "sha256": hashlib.sha256(content.encode()).hexdigest(),
        },
        "fetch_destination": "/opt/tool",
        "fetch_unpack": False,
        "fetch_mirrors": {"https://vendor.example/": "file:///srv/mirror/"},
    }
    inventory = {"all": {"hosts": {"target": given}}}
    (tmp_path / "inventory.json").write_text(json.dumps(inventory))
    done = subprocess.run(
        ["ansible-playbook", "-i", "inventory.json", "-e", f"@{STACKS}/cpu.yml", "play.yml"],
        cwd=tmp_path,
        env=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert bare_container.exec_run(["cat", "/opt/tool"]).output.decode() == content
    assert bare_container.exec_run(["/opt/venv/bin/pip", "--version"]).exit_code == 0
