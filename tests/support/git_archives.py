"""A small git repository, and the archive of its commit as hosts of repositories serve it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

FILES = {"a.b": "sorted before a/\n", "a/one": "1\n", "a/two/deep": "2\n", "a-b": "", "ä ö": "ü\n"}
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    # Nobody's settings, and the same commit each time.
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


@dataclass(frozen=True, kw_only=True)
class Committed:
    """One commit.

    Attributes:
        commit: Its id.
        tree: git's hash of its tree.
        archive: What `git archive` makes of it, compressed.
    """

    commit: str
    tree: str
    archive: bytes


def commit(folder: Path, **changes: str) -> Committed:
    """Make a repository with a few files, some of them of other content, and commit it.

    Args:
        folder: A new one.
        changes: Names of files to their content.
    """
    folder.mkdir()
    for name, text in {**FILES, **changes}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("a/one")
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all")
    person = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.com")
    _git(folder, *person, "commit", "--quiet", "--message", "all")
    found = _git(folder, "rev-parse", "HEAD", "HEAD^{tree}").decode().split()
    prefix = f"--prefix=tool-{found[0]}/"
    archive = _git(folder, "archive", "--format=tar.gz", prefix, "HEAD")
    return Committed(commit=found[0], tree=found[1], archive=archive)


def _git(folder: Path, *arguments: str) -> bytes:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
    )
    return done.stdout
