"""Disks, made and booted as users make them: emulated, so it takes minutes each.

What this cannot show is how a disk boots on real hardware, or in a cloud.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from documented_steps import Copy, copy_repository
from vendor_mirror.mirror import MOUNTED
from vendor_mirror.prepared import prepared

from bakehouse import engine, layout
from bakehouse.images import get_image
from bakehouse.machines.proof import IDENTITY
from bakehouse.playbooks import load_playbook
from bakehouse.report import provenance

pytestmark = [pytest.mark.docker, pytest.mark.slow]

HELLO = """\
---
- name: Install what builds modules
  ansible.builtin.apt:
    name: [dkms, gcc, make]
    install_recommends: false

- name: Make a folder for a module
  ansible.builtin.file: {path: /usr/src/hello-1.0, state: directory, mode: "0755"}

- name: Write a module
  ansible.builtin.copy:
    dest: /usr/src/hello-1.0/{{ item.name }}
    content: "{{ item.text }}"
    mode: "0644"
  loop:
    - {name: Makefile, text: "obj-m := hello.o\\n"}
    - name: dkms.conf
      text: |
        PACKAGE_NAME=hello
        PACKAGE_VERSION=1.0
        BUILT_MODULE_NAME[0]=hello
        DEST_MODULE_LOCATION[0]=/updates
        AUTOINSTALL=yes
    - name: hello.c
      text: |
        #include <linux/module.h>
        MODULE_LICENSE("GPL");
        MODULE_DESCRIPTION("Of the tests");

- name: Find the kernels
  ansible.builtin.find: {paths: /lib/modules, file_type: directory}
  register: found

- name: Build it for each
  ansible.builtin.command: dkms install -m hello -v 1.0 -k {{ item.path | basename }}
  changed_when: true
  loop: "{{ found.files }}"

- name: Have it loaded on boot
  ansible.builtin.copy: {dest: /etc/modules-load.d/hello.conf, content: "hello\\n", mode: "0644"}
"""
HOST_TEST = """\
import pytest


def test_it_is_loaded(host):
    if host.run("systemd-detect-virt --container").rc == 0:
        pytest.skip("the kernel is the host's")
    assert host.file("/sys/module/hello").is_directory
"""
PLAYBOOK = """\
---
- name: Bake
  hosts: all
  gather_facts: false
  become: "{{{{ bakehouse_become | default(false) }}}}"
  roles:
{roles}
    - role: image_cleanup
      tags: [image_cleanup]
"""
HELLO_NODE = "test-hello-node"
ENTRY = {
    "kind": "machine", "parent": "debian-12-node", "stack": "cpu", "disk": {"gb": 4},
}  # fmt: skip
BOOTED_NODE = "test-booted-node"
OF_TESTS = (HELLO_NODE, BOOTED_NODE, "pcluster-cpu")
"""Images whose vendors or roles are the tests'."""


@dataclass(frozen=True)
class Made:
    """A folder with a disk and its papers."""

    folder: Path

    def read(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.folder / name).read_text()))

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """By id."""
        return {result["id"]: result for result in self.read("report.json")["results"]}

    def one(self, suffix: str) -> Path:
        (path,) = self.folder.glob(f"*{suffix}")
        return path


@pytest.fixture(scope="module")
def tools() -> None:
    """What boots disks; installed as users install it."""
    subprocess.run([layout.ROOT / "bootstrap" / "setup.sh", "disk"], check=True)


@pytest.fixture(scope="module")
def vendors() -> Iterator[str]:
    """The vendors' mirror as a file for BAKEHOUSE_MIRRORS needs it, served to containers."""
    folder = prepared(str(get_image("pcluster-cpu").stack), "debian12")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder / "mirror"))
    server = ThreadingHTTPServer((engine.bridge_address(), 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{server.server_address[0]!s}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def tree(tmp_path: Path, keep_artifacts: bool) -> Iterator[Copy]:
    """A copy of the repository."""
    root = tmp_path / "tree"
    copy_repository(root)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "BAKEHOUSE_ROOT": str(root),
        "BAKEHOUSE_STATE": str(root / ".bakehouse"),
        "BAKEHOUSE_OUT": str(root / "out"),
        "PYTHONPATH": str(layout.ROOT),
    }
    yield Copy(root=root, touched=[], environment=environment)
    for name in OF_TESTS if not keep_artifacts else ():
        for found in engine.connect().images.list(f"bakehouse/{name}"):
            engine.connect().images.remove(str(found.id), force=True)


def add_image(tree: Copy, image: str, *roles: str) -> None:
    """Add a machine image with a playbook of these roles, and image_cleanup as its last."""
    names = "\n".join(f"    - {role}" for role in roles)
    (tree.root / "playbooks" / f"{image}.yml").write_text(PLAYBOOK.format(roles=names))
    entry = json.dumps({**ENTRY, "playbook": image})
    images = tree.root / "images.yml"
    images.write_text(f"{images.read_text()}\n  {image}: {entry}\n")


def disk_of(tree: Copy, image: str, *options: str) -> Made:
    done = tree.bakehouse("disk", "build", image, *options)
    assert done.returncode == 0, done.stderr
    return Made(tree.root / "out" / image / "disk")


def assert_complete(made: Made, image: str) -> None:
    """The disk is the one that was signed, in both forms, and it was looked at from all sides."""
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=made.folder, check=True)
    compare = ["qemu-img", "compare", "-q", made.one(".raw"), made.one(".qcow2")]
    subprocess.run([str(word) for word in compare], check=True)
    statement = provenance.verify(made.folder / "provenance.json", made.folder / "provenance.pub")
    signed = {subject["name"] for subject in statement["subject"]}
    assert {made.one(".raw").name, made.one(".qcow2").name, "sbom.cdx.json"} <= signed
    report = made.read("report.json")
    assert report["verdict"] == "pass"
    assert report["identity"]["image"] == image
    hosts = {
        r["id"] for r in made.results.values() if (r["group"], r["status"]) == ("host", "pass")
    }
    assert len(hosts) >= len(load_playbook(str(get_image(image).playbook)).roles)
    rebooted = {f"{name}-rebooted" for name in hosts if not name.endswith("-rebooted")}
    assert rebooted <= hosts
    for name in ("services-up", "kernel-held", "identity-kept", *(f"clones-{n}" for n in IDENTITY)):
        assert made.results[name]["status"] == "pass"


@pytest.mark.usefixtures("tools")
def test_make_image_makes_a_disk_that_is_proven(tree: Copy) -> None:
    (tree.root / ".venv").symlink_to(layout.ROOT / ".venv")
    done = tree.run("make", "image", "IMAGE=cpu-node")
    assert done.returncode == 0, done.stderr
    made = Made(tree.root / "out" / "cpu-node" / "disk")
    assert_complete(made, "cpu-node")
    assert {"memory", "memory-rebooted"} <= set(made.results)
    assert made.results["clock"]["status"] == "skip"
    again = tree.run("make", "image", "IMAGE=cpu-node")
    assert "its disk is unchanged" in again.stderr


@pytest.mark.usefixtures("tools")
def test_pcluster_cpu_boots_as_a_disk(tree: Copy, vendors: str) -> None:
    image = get_image("pcluster-cpu")
    folder = prepared(str(image.stack), "debian12")
    stack = json.loads((folder / "stack.json").read_text())
    mirrors = {
        prefix: place.replace(f"file://{MOUNTED}", vendors)
        for prefix, place in stack.pop("bakehouse_mirrors").items()
    }
    (tree.root / "stacks" / f"{image.stack}.yml").write_text(json.dumps(stack, indent=1))
    (tree.root / "mirrors.yml").write_text(json.dumps(mirrors))
    tree.environment["BAKEHOUSE_MIRRORS"] = str(tree.root / "mirrors.yml")
    # The engine is Debian 12's, which a rule of the stack finds too old.
    made = disk_of(tree, image.name, "--allow-broken-stack")
    assert_complete(made, image.name)


@pytest.mark.usefixtures("tools")
def test_a_module_of_dkms_is_there_for_the_kernel_that_runs(tree: Copy) -> None:
    role = tree.root / "roles" / "hello"
    for part, text in (("tasks/main.yml", HELLO), ("meta/argument_specs.yml", "---\n{}\n")):
        (role / part).parent.mkdir(parents=True, exist_ok=True)
        (role / part).write_text(text)
    (tree.root / "tests" / "host" / "test_hello.py").write_text(HOST_TEST)
    add_image(tree, HELLO_NODE, "packages", "node_exporter", "hello", "node_checks", "image_info")
    made = disk_of(tree, HELLO_NODE)
    assert made.results["hello-test_it_is_loaded"]["status"] == "pass"
    assert made.results["module-hello"]["status"] == "pass"
    assert made.results["module-hello-rebooted"]["status"] == "pass"


@pytest.mark.usefixtures("tools")
def test_packers_qemu_source_bakes_a_disk_on_a_booted_machine(tree: Copy) -> None:
    add_image(tree, BOOTED_NODE, "packages", "node_exporter", "image_info")
    made = disk_of(tree, BOOTED_NODE, "--booted", "--accelerator", "tcg")
    judged = json.loads((tree.root / "out" / BOOTED_NODE / "judged.json").read_text())
    assert {r["status"] for r in judged["results"]} == {"pass", "skip"}
    layers = made.read("report.json")["build"]["layers"]
    names = [layer["name"] for layer in layers]
    assert names == ["packages", "node_exporter", "image_info", "image_cleanup"]
    assert all(layer["seconds"] > 0 for layer in layers)
    # What the machine of the bake had of its own is gone, although it has booted.
    for name in ("absent-random-seed", "absent-host-keys", "machine-id", "clones-machine-id"):
        assert made.results[name]["status"] == "pass"
