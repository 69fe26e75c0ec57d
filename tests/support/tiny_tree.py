"""A repository of a few tiny roles, built as a user builds: with the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakehouse import engine

REPOSITORY = Path(__file__).resolve().parents[2]
BASE = "debian-12"
MACHINE_BASE = "debian-12-machine"
STAMPS = "/opt/stamps"
"""Each role leaves here when it ran, so that a second run cannot hide."""

SPECIFICATION = """\
---
argument_specs:
  main:
    short_description: A role of the tests
    options:
      {role}_text:
        type: str
        default: nothing
      {role}_release:
        type: dict
"""
STAMP = """\
---
- name: Leave a stamp
  ansible.builtin.shell: >-
    mkdir -p {stamps} && date +%s.%N > {stamps}/{role}
    && echo '{{{{ {role}_text | default("nothing") }}}}' >> {stamps}/{role}
  changed_when: true
"""
HOST_TEST = """\
def test_stamp(host, record_property):
    record_property("stamp of {role}", host.file("{stamps}/{role}").content_string.split()[0])
    assert host.user().name == "root"
    assert {claim}
"""
CLEANUP = "image_cleanup"

WRITING_30_MB = """\
- name: Write 30 MB
  ansible.builtin.command: dd if=/dev/urandom of=/opt/thirty bs=1M count=30
  changed_when: true
"""
TAKING_TWO_SECONDS = """\
- name: Take two seconds
  ansible.builtin.command: sleep 2
  changed_when: true

- name: Take none
  ansible.builtin.command: "true"
  changed_when: true
"""
FAILING = """\
- name: Fetch what is not there
  ansible.builtin.command: cat /opt/other-half
  changed_when: false
"""
SLEEPING = """\
- name: Take a long time
  ansible.builtin.command: sleep {seconds}
  changed_when: true
"""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def results(self) -> list[dict[str, Any]]:
        """What `--json` printed."""
        return list(json.loads(self.stdout))


@dataclass(kw_only=True)
class Tree:
    """The repository; its one image of interest has a name that no other test uses."""

    root: Path
    image: str
    roles: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    entry: dict[str, Any] = field(default_factory=dict)
    base: str = BASE
    others: dict[str, list[str]] = field(default_factory=dict)
    """Further images of this kind: the roles of each."""

    @property
    def reference(self) -> str:
        """The image's name for docker."""
        return f"bakehouse/{self.image}:latest"

    @property
    def state(self) -> Path:
        """Caches and build contexts."""
        return self.root / "state"

    def role(self, name: str, tasks: str = "") -> None:
        """Write a role, and put it last into the playbook if it is new."""
        folder = self.root / "roles" / name
        for part in ("tasks", "meta"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "meta" / "argument_specs.yml").write_text(SPECIFICATION.format(role=name))
        # BuildKit shares layers of equal content between images: each tree's are its own.
        text = STAMP.format(role=name, stamps=STAMPS) + tasks + f"# of {self.image}\n"
        (folder / "tasks" / "main.yml").write_text(text)
        if name not in self.roles:
            self.roles.append(name)
        if self.base == MACHINE_BASE:
            self.host_test(name)
        self.write()

    def host_test(self, role: str, claim: str = "True") -> None:
        """Write the host test of a role, without which nothing that it is in is released."""
        folder = self.root / "tests" / "host"
        folder.mkdir(parents=True, exist_ok=True)
        text = HOST_TEST.format(role=role, claim=claim, stamps=STAMPS)
        (folder / f"test_{role}.py").write_text(text)

    def host_tests(self, claim: str) -> None:
        """Have the host test of each role claim something."""
        for role in self.roles:
            self.host_test(role, claim)

    def write(self) -> None:
        """Write the playbook, the stack and the list of images."""
        become = "{{ bakehouse_become | default(false) }}"
        play: dict[str, Any] = {"name": "Bake", "hosts": "all", "become": become}
        if self.variables:
            play["vars"] = self.variables
        for name, roles in {"tiny": self.roles, **self.others}.items():
            tagged = [{"role": r, "tags": [r]} if r == CLEANUP else r for r in roles]
            self._json(f"playbooks/{name}.yml", [{**play, "roles": tagged}])
        self._json("stacks/tiny.yml", {"one_release": {"version": "1", "package": "coreutils"}})
        self._json("stacks/constraints.yml", {"rules": []})
        kind = "machine" if self.base == MACHINE_BASE else "container"
        entry = {"kind": kind, "parent": self.base, "playbook": "tiny", "stack": "tiny"}
        others = {name: {**entry, "playbook": name} for name in self.others}
        images = {**bases(), self.image: {**entry, **self.entry}, **others}
        self._json("images.yml", {"images": images})

    def command(self, *options: str) -> list[str]:
        """A command line of the program under test."""
        return [sys.executable, "-m", "bakehouse", *options]

    def build(self, *options: str, image: str = "") -> Finished:
        """Build the image to the end."""
        process = self.start(*options, image=image)
        stdout, stderr = process.communicate(timeout=300)
        return Finished(status=process.returncode, stdout=stdout, stderr=stderr)

    def start(self, *options: str, image: str = "") -> subprocess.Popen[str]:
        """A build under way, in a process group of its own."""
        return subprocess.Popen(
            self.command("build", image or self.image, *options),
            env={**os.environ, **self.places(), **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def places(self) -> Mapping[str, str]:
        """Variables that make the program work on this tree."""
        return {
            "BAKEHOUSE_ROOT": str(self.root),
            "BAKEHOUSE_STATE": str(self.state),
            "BAKEHOUSE_OUT": str(self.root / "out"),
            "PYTHONPATH": str(REPOSITORY),
        }

    def ran(self) -> list[str]:
        """Roles whose layers ran in the last build that wrote its record."""
        record = json.loads((self.root / "out" / self.image / "layers.json").read_text())
        return [layer["name"] for layer in record["layers"] if not layer["cached"]]

    def stamps(self) -> dict[str, str]:
        """When each role of the image that has the name ran, and what its text was."""
        listing = engine.output_of(self.reference, ["tail", "-n", "2", "-v", *self._stamps()])
        parts = [part.splitlines() for part in listing.split("==> ") if part.strip()]
        return {
            Path(lines[0].removesuffix(" <==")).name: " ".join(lines[1:]).strip() for lines in parts
        }

    def plan(self) -> dict[str, dict[str, Any]]:
        """What `--plan` says of each layer of the image."""
        finished = self.build("--plan", "--json")
        assert finished.status == 0, finished.stderr
        return {layer["name"]: layer for layer in finished.results[-1]["layers"]}

    def remove(self) -> None:
        """Remove what the builds made in docker."""
        for found in engine.connect().images.list(f"bakehouse/{self.image}"):
            for name in found.tags:
                if name.startswith(f"bakehouse/{self.image}:"):
                    engine.connect().images.remove(name, force=True)

    def _stamps(self) -> list[str]:
        return [f"{STAMPS}/{role}" for role in self.roles]

    def _json(self, name: str, content: Any) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")


def bases() -> dict[str, Any]:
    """Entries of the real images at the bottom, so that the tests stand on the same ones."""
    from bakehouse.images import load_images

    images = load_images(REPOSITORY / "images.yml")
    return {
        name: images[name].model_dump(mode="json", exclude_defaults=True, exclude={"name"})
        for name in (BASE, MACHINE_BASE)
    }


def make(root: Path, image: str, base: str = BASE) -> Tree:
    """A tree of three roles, for a container or, over MACHINE_BASE, for a machine."""
    (root / "requirements").mkdir(parents=True)
    shutil.copy(REPOSITORY / "requirements" / "runtime.txt", root / "requirements")
    shutil.copytree(REPOSITORY / "packer", root / "packer")
    shutil.copy(REPOSITORY / "ansible.cfg", root)
    tree = Tree(root=root, image=image, base=base)
    tree.state.mkdir()
    wheels = REPOSITORY / ".bakehouse" / "wheelhouse"
    wheels.mkdir(parents=True, exist_ok=True)
    (tree.state / "wheelhouse").symlink_to(wheels)
    for role in ("one", "two", "last"):
        tree.role(role)
    return tree


def forget_builds_of(command: str) -> None:
    """Have BuildKit forget the results of commands that contain a text.

    It lets go of a result a moment after the build that used it has ended.
    """

    def forgotten() -> bool:
        for record in engine.connect().df()["BuildCache"]:
            if command in record["Description"] and not record["InUse"]:
                prune = ["builder", "prune", "--all", "--force", "--filter", f"id={record['ID']}"]
                subprocess.run([engine.buildkit_client(), *prune], check=True, capture_output=True)
        return command not in engine.built_commands()

    wait_for(forgotten, 30)


def processes(argument: str) -> list[int]:
    """Ids of the processes that have this argument."""

    def has(folder: Path) -> bool:
        try:
            return argument.encode() in (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False

    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if has(folder)]


def wait_for(true: Any, seconds: float = 60) -> None:
    """Wait until a function says so."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"it did not become true within {seconds} s"
        time.sleep(0.05)


def interrupt(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal: SIGINT as a terminal does, to the whole group; others to the one process."""
    if number is signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)


def leftovers(tree: Tree) -> Iterator[str]:
    """Files of builds that should not be there when none runs."""
    for pattern in ("context/*.part", "context/*.iid", "host/*", "rootfs/*", "wheelhouse/*.part"):
        yield from (str(path) for path in tree.state.glob(pattern))
