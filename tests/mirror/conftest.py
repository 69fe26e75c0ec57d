"""The bundle of a tiny tree, and a server that a build without a network must not reach."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import no_network
import pytest
import servers
import tiny_tree
import tiny_vendor
from bundled_site import CANARY, Site, interrupt_while_recording
from tiny_tree import Tree

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


Copied = Callable[[], Path]


@pytest.fixture
def copied(site: Site, tmp_path: Path) -> Copied:
    """Copy the bundle, to be damaged."""

    def copy() -> Path:
        return Path(shutil.copytree(site.bundle, tmp_path / "bundle"))

    return copy
