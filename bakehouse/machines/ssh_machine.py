"""A machine behind ssh: commands on it as root, and testinfra's way to it."""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bakehouse import host_tests

_ALIAS = "baked"
_CONFIGURATION = """\
Host {alias}
  HostName {host}
  Port {port}
  User {user}
  IdentityFile {private_key_file}
  IdentitiesOnly yes
  BatchMode yes
  ConnectTimeout 30
  # It was made minutes ago, and is known to nobody.
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
  ControlMaster auto
  ControlPath {folder}/ssh
  ControlPersist 60
"""


@dataclass(frozen=True, kw_only=True)
class SshMachine:
    """A machine behind ssh.

    Attributes:
        configuration: ssh's; names the machine `baked`.
        root: Whether its user is root, else sudo is needed.
        test_limit_s: Seconds that all host tests together may take.
    """

    own_disk: ClassVar[bool] = True
    configuration: Path
    root: bool
    test_limit_s: float = host_tests.TIME_LIMIT_S

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Status and output of a command run as root; its errors where it failed in silence."""
        # env says with 127 that there is no such program; sudo's own status would be 1.
        words = [*([] if self.root else ["sudo", "--non-interactive", "env"]), *command]
        done = subprocess.run(
            ["ssh", "-F", str(self.configuration), _ALIAS, shlex.join(words)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout or (done.stderr if done.returncode else "")

    def host(self) -> host_tests.Host:
        """As testinfra reaches it."""
        sudo = [] if self.root else ["--sudo"]
        options = ["--ssh-config", str(self.configuration), *sudo]
        return host_tests.Host(
            name=f"ssh://{_ALIAS}", options=tuple(options), limit_s=self.test_limit_s
        )

    def leave(self) -> None:
        """End the connection that is kept, if there is one."""
        command = ["ssh", "-F", str(self.configuration), "-O", "exit", _ALIAS]
        subprocess.run(command, capture_output=True, check=False)


def configured(
    folder: Path, *, host: str, port: str, user: str, private_key_file: str, **_: str
) -> Path:
    """Write ssh's configuration for a machine to a folder, where its connection is kept, too."""
    path = folder / "configuration"
    text = _CONFIGURATION.format(
        alias=_ALIAS, folder=folder, host=host, port=port, user=user,
        private_key_file=private_key_file,
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")
    return path
