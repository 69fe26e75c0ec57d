"""An OpenPGP key that signs what is served: made anew for each mirror, and gone with it."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NAME = "Stand-in for a vendor"


@dataclass(frozen=True, kw_only=True)
class Key:
    """A signing key in a key ring of its own.

    Attributes:
        home: gpg's home directory.
        public: The public key, armoured.
        fingerprint: 40 hex digits.
    """

    home: Path
    public: bytes
    fingerprint: str

    def clearsign(self, source: Path, target: Path) -> None:
        """Write a file with its signature around it."""
        gpg(self.home, "--output", str(target), "--clearsign", str(source))

    def sign(self, source: Path, target: Path, *, armour: bool = True) -> None:
        """Write a file's detached signature."""
        options = ["--armor"] if armour else []
        gpg(self.home, *options, "--output", str(target), "--detach-sign", str(source))


@contextmanager
def key(name: str = NAME) -> Iterator[Key]:
    """A new key. RSA, since rpm of some distributions knows nothing newer."""
    with tempfile.TemporaryDirectory(prefix="keys-") as folder:
        home = Path(folder)
        gpg(home, "--passphrase", "", "--quick-generate-key", name, "rsa2048", "sign", "never")
        listing = gpg(home, "--with-colons", "--list-keys").decode()
        line = next(line for line in listing.splitlines() if line.startswith("fpr"))
        try:
            yield Key(
                home=home, public=gpg(home, "--armor", "--export"), fingerprint=line.split(":")[9]
            )
        finally:
            # The agent that gpg started ends with its key ring.
            command = ["gpgconf", "--homedir", folder, "--kill", "all"]
            subprocess.run(command, check=False, capture_output=True)


def gpg(home: Path, *options: str) -> bytes:
    """Run gpg on a key ring; returns its output."""
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--yes", *options]
    return subprocess.run(command, check=True, capture_output=True).stdout
