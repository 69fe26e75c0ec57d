"""A tiny stack of every kind of download, its bundle, and builds without a network."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import no_network
import servers
import tiny_tree
from tiny_tree import Finished, Tree

from bakehouse import engine

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


def reaches(address: str, *, network: bool) -> bool:
    """Whether a program of this machine reaches an address."""
    host, _, port = address.partition(":")
    code = f"import socket; socket.create_connection(({host!r}, {port}), 5)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command if network else no_network.command(*command), capture_output=True, check=False
    )
    return done.returncode == 0
