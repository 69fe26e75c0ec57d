"""How a machine is reached while it is baked: through ssh, or through docker if it is a container.

Whoever calls ansible-playbook tells it, in its inventory and its variables.
"""

import argparse
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from bakehouse import engine, host_tests, judge, scratch

_ALIAS = "baked"
_SSH_CONFIGURATION = """\
Host {alias}
  HostName {host}
  Port {port}
  User {user}
  IdentityFile {private_key_file}
  IdentitiesOnly yes
  BatchMode yes
  # It was made minutes ago, and is known to nobody.
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
  ControlMaster auto
  ControlPath {folder}/ssh
  ControlPersist 60
"""


class Machine(Protocol):
    """A machine that is baked."""

    @property
    def own_disk(self) -> bool:
        """Whether its root device is its own, with what is in use and what is free."""
        ...

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Status and output of a command run as root; its errors where it failed in silence."""
        ...

    def host(self) -> host_tests.Host:
        """As testinfra reaches it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A machine behind ssh.

    Attributes:
        configuration: ssh's; names the machine `baked`.
        root: Whether its user is root, else sudo is needed.
    """

    own_disk: ClassVar[bool] = True
    configuration: Path
    root: bool

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Status and output of a command run as root; its errors where it failed in silence."""
        # env says with 127 that there is no such program; sudo's own status would be 1.
        words = [*([] if self.root else ["sudo", "--non-interactive", "env"]), *command]
        done = subprocess.run(
            ["ssh", "-F", str(self.configuration), _ALIAS, shlex.join(words)],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout or (done.stderr if done.returncode else "")

    def host(self) -> host_tests.Host:
        """As testinfra reaches it."""
        sudo = [] if self.root else ["--sudo"]
        options = ["--ssh-config", str(self.configuration), *sudo]
        return host_tests.Host(name=f"ssh://{_ALIAS}", options=tuple(options))


@dataclass(frozen=True, kw_only=True)
class Contained:
    """A machine that is a container here."""

    own_disk: ClassVar[bool] = False
    name: str

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Status and output of a command run as root; its errors where it failed in silence."""
        return judge.execute(engine.container(self.name), list(command))

    def host(self) -> host_tests.Host:
        """As testinfra reaches it."""
        return host_tests.container(self.name)


@contextmanager
def reached(arguments: Sequence[str]) -> Iterator[Machine]:
    """The machine that the arguments of ansible-playbook speak of."""
    told = _told(arguments)
    if told.get("connection") == "docker":
        yield Contained(name=told["host"])
        return
    with scratch.folder("judge") as folder:
        configuration = folder / "configuration"
        text = _SSH_CONFIGURATION.format(alias=_ALIAS, folder=folder, **told)
        configuration.write_text(text, encoding="utf-8")
        try:
            yield Remote(configuration=configuration, root=told["user"] == "root")
        finally:
            command = ["ssh", "-F", str(configuration), "-O", "exit", _ALIAS]
            subprocess.run(command, capture_output=True, check=False)


def _told(arguments: Sequence[str]) -> dict[str, str]:
    """Connection, host, port, user and private_key_file, from inventory and variables for Ansible.

    Packer 1.6 writes `ansible_ssh_host` where later ones write `ansible_host`.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", dest="inventory", type=Path, required=True)
    parser.add_argument("-e", dest="variables", action="append", default=[])
    known, _ = parser.parse_known_args(arguments)
    words = shlex.split(known.inventory.read_text(encoding="utf-8"))
    pairs = (text.split("=", 1) for text in [*words, *known.variables] if "=" in text)
    return {
        name.removeprefix("ansible_").removeprefix("ssh_"): value.strip('"')
        for name, value in pairs
    }
