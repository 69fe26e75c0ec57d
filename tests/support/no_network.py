"""Run a command where there is no network but loopback: `unshare --net python no_network.py …`."""

import fcntl
import os
import shutil
import socket
import struct
import sys
from pathlib import Path

SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def command(*arguments: str) -> list[str]:
    """The command that runs another one without a network."""
    return ["unshare", "--net", sys.executable, str(Path(__file__).resolve()), *arguments]


def why_not() -> str:
    """Why that cannot be done here; empty if it can."""
    if os.geteuid() != 0:
        return "only root can take a program's network away"
    return "" if shutil.which("unshare") else "util-linux is not installed"


def main() -> None:
    """Bring loopback up and become the command."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
