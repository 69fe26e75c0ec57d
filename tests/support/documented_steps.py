"""Does what a how-to page says: writes its files and runs its commands in a copy of the tree."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bakehouse.layout import ROOT

FENCE = re.compile(r"```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WHOLE_FILE = re.compile(r"`([^`\n]+)`:\n\n$")
ADDED = re.compile(r"Add to `([^`\n]+)`:\n\n$")
BEFORE = re.compile(r"In `([^`\n]+)`, before `([^`\n]+)`:\n\n$")


@dataclass(frozen=True)
class Copy:
    """A copy of the repository after the steps of a page."""

    root: Path
    touched: list[str]
    environment: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def bakehouse(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run our command line on it."""
        return self.run(sys.executable, "-m", "bakehouse", *arguments)


def copy_repository(target: Path) -> None:
    """Clone the repository, with what is not committed yet; caches are shared by links."""
    if (ROOT / ".git").exists():
        # With its history: an image says which commit it is of.
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_symlink() or (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).unlink(missing_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    state = target / ".bakehouse"
    state.mkdir()
    for cache in ("collections", "wheelhouse"):
        (ROOT / ".bakehouse" / cache).mkdir(parents=True, exist_ok=True)
        (state / cache).symlink_to(ROOT / ".bakehouse" / cache)


def follow(page: Path, tree: Path, environment: dict[str, str]) -> list[str]:
    """Do the steps of a page in a tree; returns the files that it wrote or changed."""
    text = page.read_text(encoding="utf-8")
    touched = []
    for block in FENCE.finditer(text):
        language, content, told = block[1], block[2], text[: block.start()]
        if language == "sh":
            command = ["bash", "-euo", "pipefail", "-c", content]
            subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True)
        elif added := ADDED.search(told):
            path = tree / added[1]
            path.write_text(f"{path.read_text()}\n{content}")
            touched.append(added[1])
        elif before := BEFORE.search(told):
            path = tree / before[1]
            whole = path.read_text()
            assert whole.count(before[2]) == 1, f"{before[1]}: {before[2]} is not there once"
            at = whole.rindex("\n", 0, whole.index(before[2])) + 1
            path.write_text(whole[:at] + content + whole[at:])
            touched.append(before[1])
        elif named := WHOLE_FILE.search(told):
            path = tree / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            touched.append(named[1])
    return touched
