"""lock and bump, on the record of a source: the tree of what the host of repositories has now."""

from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import git_archives
import pytest
import servers
from git_archives import Committed
from servers import Server
from stack_tree import StackTree

from bakehouse.stacks.stack import load_stack

Run = Callable[..., CompletedProcess[str]]
NAME = "picotron_upstream_source_release"


@pytest.fixture(scope="module")
def commits(tmp_path_factory: pytest.TempPathFactory) -> list[Committed]:
    folder = tmp_path_factory.mktemp("git")
    return [git_archives.commit(folder / name, **{"a/one": name}) for name in ("old", "new")]


@pytest.fixture
def vendor(commits: list[Committed]) -> Iterator[Server]:
    with servers.serving() as server:
        server.files |= {f"/{one.commit}.tar.gz": one.archive for one in commits}
        yield server


@pytest.fixture
def run(tree: StackTree, vendor: Server) -> Run:
    """`bakehouse stack COMMAND cpu` against the vendor's mirror."""

    def command(name: str, *arguments: str) -> CompletedProcess[str]:
        mirror = f"https://vendor.example/=http://{vendor.address}/"
        return tree.run("stack", name, "cpu", NAME, *arguments, "--mirror", mirror)

    return command


def text_of(one: Committed, *, whole: bool = True) -> str:
    url = f"https://vendor.example/{one.commit}.tar.gz"
    git_tree = f"  git_tree: {one.tree}\n" if whole else ""
    return f"---\n{NAME}:\n  version: {one.commit}   # why\n  url: {url}\n{git_tree}"


def test_a_tree_that_is_written_is_verified(
    tree: StackTree, run: Run, commits: list[Committed]
) -> None:
    tree.cpu.write_text(text_of(commits[0]))
    done = run("lock")
    assert done.returncode == 0, done.stderr
    assert f"{NAME}.git_tree: verified" in done.stderr
    assert tree.cpu.read_text() == text_of(commits[0])


@pytest.mark.parametrize("command", ["lock", "bump"])
def test_another_tree_is_refused_and_never_replaced(
    tree: StackTree, run: Run, vendor: Server, commits: list[Committed], command: str
) -> None:
    old, new = commits
    tree.cpu.write_text(text_of(old))
    vendor.files[f"/{old.commit}.tar.gz"] = new.archive
    done = run(command, *([old.commit] if command == "bump" else []))
    assert done.returncode == 4
    assert f"expected {old.tree}, found {new.tree}" in done.stderr
    assert tree.cpu.read_text() == text_of(old)


def test_bump_changes_commit_address_and_tree_and_nothing_else(
    tree: StackTree, run: Run, commits: list[Committed]
) -> None:
    old, new = commits
    tree.cpu.write_text(text_of(old))
    done = run("bump", new.commit)
    assert done.returncode == 0, done.stderr
    assert tree.cpu.read_text() == text_of(new)


def test_the_record_of_our_stack_names_the_commit_in_its_address() -> None:
    record = load_stack("cpu").records[NAME]
    assert Path(str(getattr(record, "url", ""))).name == f"{record.version}.tar.gz"
