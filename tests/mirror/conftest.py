"""A tiny stack of every kind of download, its bundle, and builds without a network."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import no_network
import pytest
import servers
import tiny_tree
import tiny_vendor
from tiny_tree import Finished, Tree

from bakehouse import engine
from bakehouse.builder import build_image

FETCHING = """\
- name: Fetch
  ansible.builtin.include_role:
    name: fetch
    tasks_from: {entry}
  vars:
    fetch_name: {role}
    fetch_record: "{{{{ {role}_release }}}}"
    fetch_destination: /opt/{role}
    fetch_unpack: false

"""
INSTALLING = """\
- name: Install a package of the vendor and one of the distribution
  ansible.builtin.apt:
    name: [tool, hello]
    install_recommends: false

"""
CANARY = """\
- name: Try to reach this machine
  ansible.builtin.shell: >-
    python3 -c 'import socket; socket.create_connection(("{host}", {port}), 5)'
    > {stamps}/canary 2>&1 && echo reached > {stamps}/canary || true
  changed_when: true

"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A tree whose images fetch from a vendor, the vendor, and the bundle of it all."""

    tree: Tree
    vendor: servers.Server
    bundle: Path

    def run(self, *arguments: str, state: Path | None = None, network: bool = True) -> Finished:
        """Run our command line to its end.

        Args:
            arguments: Of the command line.
            state: Other caches than the tree's.
            network: Whether there is one.
        """
        command = self.tree.command(*arguments)
        done = subprocess.run(
            command if network else no_network.command(*command),
            env={**self.environment, **({"BAKEHOUSE_STATE": str(state)} if state else {})},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return Finished(status=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def build(self, bundle: Path, state: Path) -> Finished:
        """Build the image from a bundle, without a network."""
        arguments = ("build", self.tree.image, "--mirror", str(bundle))
        return self.run(*arguments, state=state, network=False)

    def create(self, *options: str) -> Finished:
        """Make the bundle."""
        return self.run(*self.creation, *options)

    @property
    def creation(self) -> tuple[str, ...]:
        """The command that makes the bundle."""
        return ("mirror", "create", "tiny", "--output", str(self.bundle), "--json")

    @property
    def environment(self) -> dict[str, str]:
        """Of the command line."""
        return {**os.environ, **self.tree.places(), **self.tree.environment}


@pytest.fixture(scope="module")
def canary() -> Iterator[servers.Server]:
    """A server that containers reach, if they have a network."""
    with servers.serving(engine.bridge_address()) as server:
        yield server


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    canary: servers.Server,
    request: pytest.FixtureRequest,
) -> Iterator[Site]:
    """The bundle is made in two attempts, the first of which is interrupted."""
    if reason := no_network.why_not():
        pytest.skip(reason)
    build_image(tiny_tree.BASE)
    folder = tmp_path_factory.mktemp("site")
    with servers.serving() as vendor:
        tree = tiny_tree.make(folder / "tree", f"test-{uuid4().hex[:10]}")
        shutil.copytree(tiny_tree.REPOSITORY / "roles" / "fetch", tree.root / "roles" / "fetch")
        tree.roles.clear()
        host, _, port = canary.address.partition(":")
        tree.role("archive", FETCHING.format(role="archive", entry="main"))
        tree.role("tool", FETCHING.format(role="tool", entry="repository") + INSTALLING)
        tree.role("canary", CANARY.format(host=host, port=port, stamps=tiny_tree.STAMPS))
        records = tiny_vendor.fill(vendor, folder / "vendor")
        (tree.root / "stacks" / "tiny.yml").write_text(json.dumps(records))
        mirrors = tree.root / "mirrors.yml"
        mirrors.write_text(f"---\n{tiny_vendor.URL}/: http://{vendor.address}/\n")
        tree.environment = {"BAKEHOUSE_MIRRORS": str(mirrors)}
        site = Site(tree=tree, vendor=vendor, bundle=folder / "bundle")
        try:
            interrupt_while_recording(site)
            finished = site.create()
            assert finished.status == 0, finished.stderr
            yield site
        finally:
            if not request.getfixturevalue("keep_artifacts"):
                tree.remove()


@pytest.fixture
def tree(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tree]:
    """A tree that fetches nothing."""
    assert site.bundle.is_dir()
    made = tiny_tree.make(tmp_path / "tree", f"test-{uuid4().hex[:10]}")
    yield made
    if not request.getfixturevalue("keep_artifacts"):
        made.remove()


def interrupt_while_recording(site: Site) -> None:
    """Begin to make the bundle, and interrupt it once some packages are there."""
    process = subprocess.Popen(
        site.tree.command(*site.creation),
        env=site.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    part = site.bundle.with_name(f"{site.bundle.name}.part")
    tiny_tree.wait_for(lambda: len(list(part.rglob("*.deb"))) > 5 or process.poll() is not None)
    tiny_tree.interrupt(process, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert not site.bundle.exists(), "it has its name only when it is whole"
    assert engine.namespaces(f"bakehouse-recording-{process.pid}-") == set()


Copied = Callable[[], Path]


@pytest.fixture
def copied(site: Site, tmp_path: Path) -> Copied:
    """Copy the bundle, to be damaged."""

    def copy() -> Path:
        return Path(shutil.copytree(site.bundle, tmp_path / "bundle"))

    return copy


def reaches(address: str, *, network: bool) -> bool:
    """Whether a program of this machine reaches an address."""
    host, _, port = address.partition(":")
    code = f"import socket; socket.create_connection(({host!r}, {port}), 5)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command if network else no_network.command(*command), capture_output=True, check=False
    )
    return done.returncode == 0
