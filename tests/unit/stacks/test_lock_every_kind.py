"""lock, on each kind of record: what is written is verified and stays, what is missing is added."""

import hashlib
from collections.abc import Callable, Iterator
from subprocess import CompletedProcess

import pytest
import servers
from servers import Server
from stack_tree import StackTree

from bakehouse.stacks.openpgp import fingerprints

FILES = {"x86_64": b"for x86_64", "aarch64": b"for aarch64"}
KEY_BODY = bytes(range(200))
KEY = bytes([0x98, len(KEY_BODY)]) + KEY_BODY  # an OpenPGP packet of a public key


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


FINGERPRINT = hashlib.sha1(b"\x99\x00\xc8" + KEY_BODY).hexdigest().upper()

STACK = f"""\
---
nccl_tests_release:
  version: "2.19"
  url: https://vendor.example/x86_64
  sha256: {digest(FILES["x86_64"])}   # for one

pyxis_release:   # in a flow
  version: "1"
  by_architecture:
    x86_64: {{url: https://vendor.example/x86_64, sha256: {digest(FILES["x86_64"])}}}
    aarch64:
      url: https://vendor.example/aarch64   # this one is not
      sha256: {digest(FILES["aarch64"])}

nvidia_dcgm_release:
  version: "4.6"
  repository: https://vendor.example/apt
  key_url: https://vendor.example/key   # signs it
  key_sha256: {digest(KEY)}

enroot_release:
  version: "4.6"
  by_platform:
    ubuntu24.04-x86_64:
      repository: https://vendor.example/apt
      key_url: https://vendor.example/key
      key_fingerprint: {FINGERPRINT}

docker_release: {{version: "29.1.3", package: docker.io}}
"""
DIGESTS = {
    "a line": f"  sha256: {digest(FILES['x86_64'])}   # for one\n",
    "a part of a flow": f", sha256: {digest(FILES['x86_64'])}",
    "a line below a comment": f"      sha256: {digest(FILES['aarch64'])}\n",
    "a key's": f"  key_sha256: {digest(KEY)}\n",
}
PATHS = {
    "nccl_tests_release.sha256": "/x86_64",
    "pyxis_release.by_architecture.aarch64.sha256": "/aarch64",
    "nvidia_dcgm_release.key_sha256": "/key",
    "enroot_release.by_platform.ubuntu24.04-x86_64.key_fingerprint": "/key",
}
Lock = Callable[..., CompletedProcess[str]]


@pytest.fixture
def vendor() -> Iterator[Server]:
    with servers.serving() as server:
        server.files |= {f"/{name}": content for name, content in FILES.items()}
        server.files["/key"] = KEY
        yield server


@pytest.fixture
def lock(tree: StackTree, vendor: Server) -> Lock:
    """`bakehouse stack lock cpu` against the vendor's mirror."""
    tree.cpu.write_text(STACK)

    def command(*arguments: str) -> CompletedProcess[str]:
        mirror = f"https://vendor.example/=http://{vendor.address}/"
        return tree.run("stack", "lock", "cpu", *arguments, "--mirror", mirror)

    return command


def test_a_stack_that_is_as_promised_stays_as_it_is(tree: StackTree, lock: Lock) -> None:
    done = lock()
    assert done.returncode == 0, done.stderr
    assert tree.cpu.read_text() == STACK
    assert done.stderr.count("verified") == 5
    assert "docker_release: distribution: nothing to fetch" in done.stderr
    assert "nothing to change" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("missing", DIGESTS)
def test_a_missing_digest_is_written_where_it_belongs(
    tree: StackTree, lock: Lock, missing: str
) -> None:
    whole = STACK.replace("   # for one", "")
    line = DIGESTS[missing].replace("   # for one", "")
    assert whole.count(line) == 1
    without = whole.replace(line, "")
    tree.cpu.write_text(without)
    shown = lock("--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert tree.cpu.read_text() == without
    assert "nothing written (--dry-run)" in shown.stderr
    done = lock()
    assert done.returncode == 0, done.stderr
    assert tree.cpu.read_text() == whole
    assert done.stdout == shown.stdout
    assert "recorded" in done.stderr


def test_a_repository_without_any_key_gets_its_digest(tree: StackTree, lock: Lock) -> None:
    line = f"      key_fingerprint: {FINGERPRINT}\n"
    tree.cpu.write_text(STACK.replace(line, ""))
    assert lock("enroot_release").returncode == 0
    assert tree.cpu.read_text() == STACK.replace(line, f"      key_sha256: {digest(KEY)}\n")


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_one_flipped_byte_is_refused_at_the_line_of_the_digest(
    tree: StackTree, lock: Lock, vendor: Server, key: str, options: list[str]
) -> None:
    vendor.flip(PATHS[key])
    component, _, last = key.partition(".")
    done = lock(component, *options)
    assert done.returncode == 4
    name = key.rsplit(".", maxsplit=1)[-1]
    first = STACK[: STACK.index(f"{component}:")].count("\n")
    lines = STACK.splitlines()
    number = next(
        n for n, line in enumerate(lines, 1)
        if n > first and line.strip().startswith(f"{name}:")
    )  # fmt: skip
    assert f"{tree.cpu}:{number}: {key}" in done.stderr
    assert "expected" in done.stderr
    assert "do not use this file" in done.stderr
    assert last
    assert tree.cpu.read_text() == STACK


@pytest.mark.parametrize("placeholder", ["0" * 64, "f" * 64])
def test_a_digest_that_is_written_is_never_replaced(
    tree: StackTree, lock: Lock, placeholder: str
) -> None:
    """Nor is one of zeros, which a person may have meant to be filled."""
    wrong = STACK.replace(f"{digest(FILES['x86_64'])}   # for one", f'"{placeholder}"   # for one')
    assert wrong != STACK
    tree.cpu.write_text(wrong)
    done = lock("nccl_tests_release")
    assert done.returncode == 4
    assert f"expected {placeholder}, found {digest(FILES['x86_64'])}" in done.stderr
    assert tree.cpu.read_text() == wrong


def test_if_the_last_record_fails_the_first_is_not_written_either(
    tree: StackTree, lock: Lock, vendor: Server
) -> None:
    without = STACK.replace(DIGESTS["a line"], "")
    tree.cpu.write_text(without)
    del vendor.files["/key"]
    done = lock()
    assert done.returncode == 4
    assert "404" in done.stderr
    assert tree.cpu.read_text() == without


def test_only_the_named_records_are_looked_at(lock: Lock, vendor: Server) -> None:
    assert lock("nvidia_dcgm_release", "enroot_release").returncode == 0
    assert vendor.asked == ["/key"], "one key is fetched once"


def test_what_is_wrong_beyond_digests_is_still_wrong(tree: StackTree, lock: Lock) -> None:
    tree.cpu.write_text("nccl_tests_release: {version: '1', url: 'https://x', branch: main}\n")
    done = lock()
    assert done.returncode == 2
    assert f"{tree.cpu}:1: nccl_tests_release.branch: unknown key branch" in done.stderr


@pytest.mark.parametrize("place", [0, 1, 2, 100, len(KEY) - 1])
def test_a_key_with_one_flipped_byte_has_another_fingerprint_or_none(place: int) -> None:
    assert fingerprints(KEY) == [FINGERPRINT]
    altered = bytearray(KEY)
    altered[place] ^= 1
    assert fingerprints(bytes(altered)) != [FINGERPRINT]


def test_a_second_key_in_a_file_is_noticed(tree: StackTree, lock: Lock, vendor: Server) -> None:
    vendor.files["/key"] = KEY + KEY[:-1] + b"x"
    assert len(fingerprints(vendor.files["/key"])) == 2
    assert lock("enroot_release").returncode == 4
    assert tree.cpu.read_text() == STACK


@pytest.mark.parametrize(
    "data", [b"", b"<html>", KEY[:-1], b"\x99", b"\xff" * 9, KEY + b"\x99\x01"]
)
def test_what_is_no_key_has_no_fingerprint(data: bytes) -> None:
    assert fingerprints(data) == []
