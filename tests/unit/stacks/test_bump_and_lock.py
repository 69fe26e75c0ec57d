"""bump changes version, address and digest together; lock never replaces what is written."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from servers import Server
from stack_tree import StackTree

from bakehouse import layout
from bakehouse.errors import DownloadError
from bakehouse.stacks import python_index
from bakehouse.stacks.bump import Request, bump
from bakehouse.stacks.download import Policy
from bakehouse.stacks.lock import lock

STACK = """\
---
# What the vendor makes.
nccl_tests_release:   # the comment stays
  version: "2.19.6"
  url: https://vendor.example/nccl-tests/v2.19.6/nccl-tests-2.19.6.tar.gz
  sha256: {old}

docker_release: {{version: "20.10.24", package: docker.io}}  # as it was written
"""
OLD, NEW = b"the old archive", b"the new archive"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def vendor() -> Iterator[Server]:
    """The vendor's mirror."""
    with servers.serving() as server:
        server.files["/nccl-tests/v2.19.6/nccl-tests-2.19.6.tar.gz"] = OLD
        server.files["/nccl-tests/v2.20.0/nccl-tests-2.20.0.tar.gz"] = NEW
        yield server


@pytest.fixture
def stack(tree: StackTree) -> Path:
    """A stack with an archive."""
    path = tree.root / "stacks" / "gpu-cuda13.yml"
    path.write_text(STACK.format(old=digest(OLD)))
    return path


Bump = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stack_command(tree: StackTree, vendor: Server) -> Bump:
    """A stack command against the mirror: status, output, errors."""

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        mirror = f"https://vendor.example/=http://{vendor.address}/"
        done = tree.run("stack", command, "gpu-cuda13", *arguments, "--mirror", mirror)
        return done.returncode, done.stdout, done.stderr

    return run


def test_version_address_and_digest_change_together_and_nothing_else(
    stack: Path, stack_command: Bump
) -> None:
    status, diff, said = stack_command("bump", "nccl_tests_release", "2.20.0")
    assert status == 0, said
    expected = STACK.format(old=digest(NEW)).replace("2.19.6", "2.20.0")
    assert stack.read_text() == expected
    assert diff.count("\n+") == 4, "three lines and the header"


def test_a_dry_run_shows_the_change_and_writes_nothing(stack: Path, stack_command: Bump) -> None:
    before = stack.read_text()
    status, diff, said = stack_command("bump", "nccl_tests_release", "2.20.0", "--dry-run")
    assert status == 0
    assert f"+  sha256: {digest(NEW)}" in diff
    assert "nothing written (--dry-run)" in said
    assert stack.read_text() == before


def test_json_says_what_was_written(stack: Path, stack_command: Bump) -> None:
    _, text, _ = stack_command("bump", "nccl_tests_release", "2.20.0", "--json")
    content = json.loads(text)
    assert content["written"] is True
    assert content["record"] == "nccl_tests_release"
    assert content["path"] == str(stack)


def test_a_package_of_the_distribution_is_bumped_without_a_download(
    stack: Path, stack_command: Bump, vendor: Server
) -> None:
    status, _, said = stack_command("bump", "docker_release", "29.1.3")
    assert status == 0, said
    assert '{version: "29.1.3", package: docker.io}  # as it was written' in stack.read_text()
    assert vendor.asked == []


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nccl_tests_release", "2.21.0"], 4, "404"),
        (["nccl_tests_release", "2.20.0", "--sha256", "xyz"], 2, "sha256"),
        (["nccl_test_release", "2.20.0"], 2, "did you mean nccl_tests_release?"),
        (["docker_release", "29.1.3", "--url", "https://vendor.example/x"], 2, "--url"),
        (["docker_release", "20.10.9"], 2, "docker-runs-new-glibc"),
        (["docker_release", "two words"], 2, "version"),
    ],
)
def test_what_cannot_be_bumped_leaves_the_file_as_it_was(
    stack: Path, stack_command: Bump, arguments: list[str], status: int, said: str
) -> None:
    before = stack.read_bytes()
    found, _, errors = stack_command("bump", *arguments)
    assert found == status, errors
    assert said in errors
    assert "remedy:" in errors
    assert stack.read_bytes() == before
    assert [path.name for path in stack.parent.iterdir() if ".part" in path.name] == []


def test_a_cut_off_download_leaves_the_file_as_it_was(
    tree: StackTree, stack: Path, vendor: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "STACKS", tree.root / "stacks")
    vendor.cut_off.add("/nccl-tests/v2.20.0/nccl-tests-2.20.0.tar.gz")
    before = stack.read_bytes()
    component = "nccl_tests_release"
    request = Request(
        stack="gpu-cuda13", component=component, version="2.20.0", urls={}, digests={}
    )
    mirrors = {"https://vendor.example/": f"http://{vendor.address}/"}
    with pytest.raises(DownloadError, match="gave up after 3 attempts"):
        bump(request, policy=Policy(attempts=3, backoff_s=0.01, mirrors=mirrors))
    assert stack.read_bytes() == before


def test_who_insists_may_break_a_rule_and_is_warned(stack: Path, stack_command: Bump) -> None:
    status, _, said = stack_command("bump", "docker_release", "20.10.9", "--allow-broken")
    assert status == 0
    assert "WARNING: the stack now breaks docker-runs-new-glibc" in said
    assert "20.10.9" in stack.read_text()


def test_a_pin_is_respected_until_it_is_removed(stack: Path, stack_command: Bump) -> None:
    pin = "  pin: {reason: so, link: 'https://x.example', review_by: '2999-01-01'}\n"
    text = stack.read_text().replace("  url:", f"{pin}  url:")
    stack.write_text(text)
    status, _, errors = stack_command("bump", "nccl_tests_release", "2.20.0")
    assert status == 2
    assert "pinned until 2999-01-01: so" in errors
    status, _, errors = stack_command("bump", "nccl_tests_release", "2.20.0", "--unpin")
    assert status == 0, errors
    assert stack.read_text() == STACK.format(old=digest(NEW)).replace("2.19.6", "2.20.0")


def test_lock_verifies_what_is_written(stack: Path, stack_command: Bump) -> None:
    before = stack.read_bytes()
    status, _, said = stack_command("lock")
    assert status == 0, said
    assert "nccl_tests_release.sha256: verified" in said
    assert stack.read_bytes() == before


def test_lock_refuses_one_flipped_byte_with_both_digests(
    stack: Path, stack_command: Bump, vendor: Server
) -> None:
    vendor.flip("/nccl-tests/v2.19.6/nccl-tests-2.19.6.tar.gz")
    found = digest(vendor.files["/nccl-tests/v2.19.6/nccl-tests-2.19.6.tar.gz"])
    before = stack.read_bytes()
    status, _, errors = stack_command("lock")
    assert status == 4
    assert f"expected {digest(OLD)}, found {found}" in errors
    assert f"{stack}:6: nccl_tests_release.sha256" in errors
    assert stack.read_bytes() == before


def test_lock_writes_a_digest_that_is_missing(stack: Path, stack_command: Bump) -> None:
    whole = stack.read_text()
    stack.write_text(whole.replace(f"  sha256: {digest(OLD)}\n", ""))
    status, diff, said = stack_command("lock", "--dry-run")
    assert status == 0, said
    assert f"+  sha256: {digest(OLD)}" in diff
    assert "sha256" not in stack.read_text()
    assert stack_command("lock")[0] == 0
    assert stack.read_text() == whole


PYTHON = """\
---
pytorch_release:
  version: "2.0"
  requirements:
    - name: torch
      version: "2.0"
      sha256:
        - {digest}
"""


def wheel(name: str, version: str, sha256: str) -> python_index.Wheel:
    return python_index.Wheel(
        name=name,
        version=version,
        sha256=sha256,
        filename=f"{name}-{version}-py3-none-any.whl",
    )


def test_lock_refuses_a_wheel_that_is_not_the_promised_one(
    tree: StackTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "STACKS", tree.root / "stacks")
    tree.cpu.write_text(PYTHON.format(digest="a" * 64))
    other = {"torch": [wheel("torch", "2.0", "b" * 64)]}
    monkeypatch.setattr(python_index, "published", lambda _pins, _index: other)
    with pytest.raises(DownloadError, match=rf"expected {'a' * 64}, found {'b' * 64}"):
        lock("cpu", policy=Policy())
