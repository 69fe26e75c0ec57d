"""Machines that are folders, and a program that stands in for ssh to them."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from fake_node import FakeNode, gpu_node, nccl_library, number_of

from bakehouse.stacks.stack import load_stack

SSH = """#!/bin/sh
# As ssh: options, --, host, command. Hosts are folders; what runs there runs for real.
echo "$*" >>"{hosts}/ssh.log"
while [ "$1" != -- ]; do shift; done
case $2 in
  dead*) echo "ssh: connect to host $2 port 22: Connection refused" >&2; exit 255 ;;
  hangs*) sleep 300 ;;
  pythonless*) echo "sh: 1: python3: not found" >&2; exit 127 ;;
  endless*) exec yes greetings ;;
  talks*) echo 'Welcome to {{"bakehouse_versions": 0}}'; echo '{{}}' ;;
  odd*) cat >/dev/null; echo '{{"bakehouse_versions": 1, "components": {{"docker": 3}}}}'; exit ;;
esac
host=${{2#*@}}
BAKEHOUSE_PROBE_ROOT="{hosts}/${{host#talks-}}" PATH="{hosts}/bin:/usr/bin:/bin" exec sh -c "$3"
"""


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    """A machine with nothing on it."""
    return FakeNode(tmp_path)


@pytest.fixture(scope="session")
def versions() -> dict[str, str]:
    """What the stack for GPUs promises."""
    return load_stack("gpu-cuda13").versions


@pytest.fixture(scope="session")
def good_node(tmp_path_factory: pytest.TempPathFactory, versions: dict[str, str]) -> Path:
    """The root of a machine that has all of it."""
    folder = tmp_path_factory.mktemp("good")
    body = f"*v = {number_of(versions['nvidia_nccl_release'])};"
    return gpu_node(folder / "root", versions, nccl_library(folder, body)).root


@pytest.fixture
def hosts(tmp_path: Path, good_node: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of hosts, of which `good` is as the stack wants it; ssh leads to them."""
    folder = tmp_path / "hosts"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
    shutil.copytree(good_node, folder / "good")
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH.format(hosts=folder))
    ssh.chmod(0o755)
    monkeypatch.setenv("BAKEHOUSE_SSH", str(ssh))
    return folder
