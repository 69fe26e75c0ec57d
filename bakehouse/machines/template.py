"""packer/ as the Packer of this machine can read it.

Debian's 1.6.6 refuses what later releases know. What is dropped for it stands in one list.
"""

import re
import subprocess
from pathlib import Path

from packaging.version import Version

from bakehouse import layout
from bakehouse.errors import HostError

SINCE = Version("1.7")
"""From here on, plug-ins have releases of their own (`packer init`), and nothing is dropped."""

DROPPED = {
    "amazon.pkr.hcl": ("imds_support", "boot_mode", "deprecate_at", "metadata_options"),
}
"""Arguments and blocks that 1.6.6 does not know, by file; fmt puts each on lines of its own."""


def installed() -> Version:
    """Version of the Packer of this machine.

    Raises:
        HostError: There is none.
    """
    try:
        done = subprocess.run(["packer", "version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise HostError(f"packer does not run: {error}", remedy="run `make setup`") from error
    found = re.search(r"v(\d+\.\d+\.\d+)", done.stdout)
    assert found is not None, done.stdout
    return Version(found[1])


def readable(folder: Path, version: Version) -> Path:
    """The template for a release of Packer: packer/ itself, or what 1.6.6 can read of it.

    Args:
        folder: Where a copy goes, if one is needed; must not exist.
        version: Of Packer.

    Raises:
        HostError: That release is too old for the copy, too.
    """
    if version >= SINCE:
        return layout.PACKER
    if version < Version("1.6.6"):
        raise HostError(f"Packer {version} is too old", remedy="install 1.6.6 or newer")
    folder.mkdir(parents=True)
    for path in layout.PACKER.glob("*.pkr.hcl"):
        text = path.read_text(encoding="utf-8")
        for name in DROPPED.get(path.name, ()):
            text = without(text, name)
        (folder / path.name).write_text(text, encoding="utf-8")
    return folder


def without(text: str, name: str) -> str:
    """A file without one argument or block of the first level inside its blocks.

    Raises:
        ValueError: It is not there exactly once.
    """
    argument = rf"^  {name} += .*\n"
    block = rf"^  {name} {{\n(?:    .*\n)*  }}\n"
    shorter, count = re.subn(f"{argument}|{block}", "", text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{name} is there {count} times, not once")
    return shorter
