"""bump, on each kind of record: all that has to change, in one go, and no other character."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import known_keys
import pytest
import servers
from servers import Server
from stack_tree import StackTree

from bakehouse.errors import InputError
from bakehouse.stacks.bump import Request, bump
from bakehouse.stacks.download import Policy

GIVEN = "f" * 64
NEW = {"x86_64": b"new for x86_64", "aarch64": b"new for aarch64"}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def key(body: bytes) -> bytes:
    """An OpenPGP packet of a public key; what is in it does not matter to a fingerprint."""
    return bytes([0x98, len(body)]) + body


def fingerprint(body: bytes) -> str:
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()


ARCHIVES = f"""\
---
# One file for each architecture.
nccl_tests_release:
  version: "2.19"   # the comment stays
  by_architecture:
    x86_64:
      url: https://vendor.example/2.19/tool-2.19-x86_64.tar.gz
      sha256: {"a" * 64}   # this one, too
    aarch64: {{url: https://vendor.example/2.19/tool-2.19-aarch64.tar.gz, sha256: {"b" * 64}}}

docker_release: {{version: "29.1.3", package: docker.io}}
"""

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def vendor() -> Iterator[Server]:
    with servers.serving() as server:
        for name, content in NEW.items():
            server.files[f"/2.20/tool-2.20-{name}.tar.gz"] = content
        yield server


@pytest.fixture
def run(tree: StackTree, vendor: Server) -> Run:
    """`bakehouse stack COMMAND cpu` against the vendor's mirror."""

    def command(name: str, *arguments: str) -> CompletedProcess[str]:
        mirror = f"https://vendor.example/=http://{vendor.address}/"
        return tree.run("stack", name, "cpu", *arguments, "--mirror", mirror)

    return command


def test_of_a_file_for_each_architecture_every_address_and_digest_changes(
    tree: StackTree, run: Run
) -> None:
    tree.cpu.write_text(ARCHIVES)
    done = run("bump", "nccl_tests_release", "2.20")
    assert done.returncode == 0, done.stderr
    expected = ARCHIVES.replace("2.19", "2.20").replace("a" * 64, digest(NEW["x86_64"]))
    assert tree.cpu.read_text() == expected.replace("b" * 64, digest(NEW["aarch64"]))


@pytest.mark.parametrize("architecture", NEW)
@pytest.mark.parametrize("option", [[], ["--dry-run"], ["--json"]])
def test_if_one_architecture_is_missing_nothing_changes(
    tree: StackTree, run: Run, vendor: Server, architecture: str, option: list[str]
) -> None:
    tree.cpu.write_text(ARCHIVES)
    before = {path.name for path in tree.cpu.parent.iterdir()}
    del vendor.files[f"/2.20/tool-2.20-{architecture}.tar.gz"]
    done = run("bump", "nccl_tests_release", "2.20", *option)
    assert done.returncode == 4
    assert f"tool-2.20-{architecture}.tar.gz: the server answered 404" in done.stderr
    assert tree.cpu.read_text() == ARCHIVES
    assert {path.name for path in tree.cpu.parent.iterdir()} == before


def test_what_is_given_is_not_fetched(tree: StackTree, run: Run, vendor: Server) -> None:
    tree.cpu.write_text(ARCHIVES)
    url = "https://vendor.example/elsewhere/arm"
    done = run(
        "bump", "nccl_tests_release", "2.20",
        "--url", f"aarch64={url}", "--sha256", f"aarch64={GIVEN}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert vendor.asked == ["/2.20/tool-2.20-x86_64.tar.gz"]
    assert f"aarch64: {{url: {url}, sha256: {GIVEN}}}" in tree.cpu.read_text()


def test_at_the_same_version_the_digest_is_verified_and_never_replaced(
    tree: StackTree, run: Run, vendor: Server
) -> None:
    tree.cpu.write_text(ARCHIVES)
    for name in NEW:
        vendor.files[f"/2.19/tool-2.19-{name}.tar.gz"] = b"not what was promised"
    done = run("bump", "nccl_tests_release", "2.19")
    assert done.returncode == 4
    assert f"expected {'a' * 64}, found {digest(b'not what was promised')}" in done.stderr
    assert tree.cpu.read_text() == ARCHIVES


@pytest.mark.parametrize("command", ["bump", "lock"])
def test_whose_signature_a_file_has_to_have_stays(tree: StackTree, run: Run, command: str) -> None:
    key = "".join(f"      {line}".rstrip() + "\n" for line in known_keys.KEY.splitlines())
    signature = f"""\
  signature:   # since 2.19
    suffix: .sig
    key: |
{key}    fingerprint: {known_keys.FINGERPRINT.lower()}
"""
    old = ARCHIVES.replace("\n\ndocker", f"\n{signature}\ndocker")
    new = old.replace("2.19/", "2.20/").replace("-2.19", "-2.20").replace('"2.19"', '"2.20"')
    new = new.replace("a" * 64, digest(NEW["x86_64"])).replace("b" * 64, digest(NEW["aarch64"]))
    assert signature in new
    tree.cpu.write_text(old if command == "bump" else new)
    done = run(command, "nccl_tests_release", *(["2.20"] if command == "bump" else []))
    assert done.returncode == 0, done.stderr
    assert tree.cpu.read_text() == new


ADDRESSES = {
    "https://vendor.example/x-2.1.tgz": "https://vendor.example/x-2.2.tgz",
    "https://vendor.example/v2.1/x-2.1.tgz": "https://vendor.example/v2.2/x-2.2.tgz",
    "https://vendor.example/12.1/x-2.1.tgz": "https://vendor.example/12.1/x-2.2.tgz",
    "https://vendor.example/1.2.1/x-2.1.tgz": "https://vendor.example/1.2.1/x-2.2.tgz",
    "https://vendor.example/2.1.3/x-2.1.tgz": "https://vendor.example/2.1.3/x-2.2.tgz",
    "https://vendor.example/2.10/x_2.1_all.deb": "https://vendor.example/2.10/x_2.2_all.deb",
    "https://vendor.example/2x1/x-2.1-1.rpm": "https://vendor.example/2x1/x-2.2-1.rpm",
}
ARCHIVE = "nccl_tests_release: {{version: '2.1', url: '{}', sha256: {}}}\n"


@pytest.mark.parametrize("address", ADDRESSES)
def test_only_the_whole_version_in_an_address_becomes_the_new_one(
    tree: StackTree, run: Run, address: str
) -> None:
    tree.cpu.write_text(ARCHIVE.format(address, "a" * 64))
    done = run("bump", "nccl_tests_release", "2.2", "--sha256", GIVEN, "--allow-broken")
    assert done.returncode == 0, done.stderr
    expected = ARCHIVE.format(ADDRESSES[address], GIVEN).replace("'2.1'", "'2.2'")
    assert tree.cpu.read_text() == expected


@pytest.mark.parametrize("address", ["https://vendor.example/x", "https://vendor.example/12.1/x"])
def test_an_address_without_the_version_is_not_guessed(
    tree: StackTree, run: Run, address: str
) -> None:
    before = ARCHIVE.format(address, "a" * 64)
    tree.cpu.write_text(before)
    done = run("bump", "nccl_tests_release", "2.2")
    assert done.returncode == 2
    assert f"{tree.cpu}:1: nccl_tests_release.url: the address does not hold" in done.stderr
    assert "give the new address: --url" in done.stderr
    assert tree.cpu.read_text() == before


PIN = "  pin: {reason: so, link: 'https://x.example', review_by: '2999-01-01'}\n"
PLAIN = "docker_release:\n  package: docker.io\n  version: '29.1.3'\n"
WRITTEN = {
    "as usual": PLAIN,
    "windows": PLAIN.replace("\n", "\r\n"),
    "byte order mark": "\ufeff" + PLAIN,
    "no newline at the end": PLAIN[:-1],
    "double quotes": PLAIN.replace("'", '"'),
    "no quotes": PLAIN.replace("'", ""),
    "other scripts": "# \u5c71 \U0001f35e\n" + PLAIN,
    "a flow": "docker_release: {package: docker.io, 'version': '29.1.3'}  # so\n",
    "two flows": "docker_release: {version: '29.1.3',\n  package: docker.io}\n...\n",
    "the old version elsewhere": "# since 29.1.3\n" + PLAIN + "# 29.1.3 was good\n",
}


@pytest.mark.parametrize("how", WRITTEN)
def test_however_a_file_is_written_only_the_version_changes(
    tree: StackTree, run: Run, how: str
) -> None:
    before = WRITTEN[how].encode()
    tree.cpu.write_bytes(before)
    done = run("bump", "docker_release", "29.2.0")
    assert done.returncode == 0, done.stderr
    start = before.index(b"29.1.3", before.index(b"version"))
    assert tree.cpu.read_bytes() == before[:start] + b"29.2.0" + before[start + 6 :]


@pytest.mark.parametrize("how", [how for how in WRITTEN if "flow" not in how])
def test_however_a_file_is_written_only_the_pin_goes(tree: StackTree, run: Run, how: str) -> None:
    before = WRITTEN[how]
    end = "\r\n" if how == "windows" else "\n"
    first = f"docker_release:{end}"
    pinned = before.replace(first, first + PIN.replace("\n", end))
    assert pinned != before
    tree.cpu.write_bytes(pinned.encode())
    done = run("bump", "docker_release", "29.1.3", "--unpin")
    assert done.returncode == 0, done.stderr
    assert tree.cpu.read_bytes() == before.encode()


def test_a_file_that_somebody_changed_meanwhile_is_left_as_they_want_it(tree: StackTree) -> None:
    tree.cpu.write_text(PLAIN)
    request = Request(
        stack="cpu", component="docker_release", version="29.2.0", urls={}, digests={}
    )
    change = bump(request, policy=Policy())
    tree.cpu.write_text(PLAIN + "# mine\n")
    with pytest.raises(InputError, match="changed while we worked on it"):
        change.write()
    assert tree.cpu.read_text() == PLAIN + "# mine\n"


REPOSITORY = """\
nvidia_dcgm_release:
  version: "4.6"
  repository: https://vendor.example/{version}/apt
  key_url: https://vendor.example/{version}/key
  {kind}: {identity}   # the vendor's
"""
KNOWN, STRANGER = key(b"the vendor's key"), key(b"a stranger's key")
IDENTITIES = {
    "key_sha256": digest(KNOWN),
    "key_fingerprint": fingerprint(b"the vendor's key"),
}


@pytest.mark.parametrize("kind", IDENTITIES)
@pytest.mark.parametrize("served", ["the known key", "another key", "one flipped byte", "nothing"])
def test_a_repository_moves_only_if_its_key_stays_the_same(
    tree: StackTree, run: Run, vendor: Server, kind: str, served: str
) -> None:
    before = REPOSITORY.format(version="4.6", kind=kind, identity=IDENTITIES[kind])
    tree.cpu.write_text(before)
    if served != "nothing":
        vendor.files["/4.7/key"] = STRANGER if served == "another key" else KNOWN
    if served == "one flipped byte":
        vendor.flip("/4.7/key")
    done = run("bump", "nvidia_dcgm_release", "4.7")
    assert vendor.asked == ["/4.7/key"]
    if served == "the known key":
        assert done.returncode == 0, done.stderr
        assert tree.cpu.read_text() == before.replace("4.6", "4.7")
        return
    assert done.returncode == 4
    assert ("404" if served == "nothing" else "wrong key: expected") in done.stderr
    assert tree.cpu.read_text() == before


def test_a_repository_that_stays_where_it_is_needs_no_download(
    tree: StackTree, run: Run, vendor: Server
) -> None:
    before = REPOSITORY.format(version="stable", kind="key_sha256", identity="a" * 64)
    tree.cpu.write_text(before)
    assert run("bump", "nvidia_dcgm_release", "4.7").returncode == 0
    assert tree.cpu.read_text() == before.replace("4.6", "4.7")
    assert vendor.asked == []


@pytest.mark.parametrize("component", ["docker_release", "efa_driver_release"])
@pytest.mark.parametrize("option", [["--url", "https://vendor.example/x"], ["--sha256", GIVEN]])
def test_an_option_that_is_of_no_use_is_refused(
    tree: StackTree, run: Run, component: str, option: list[str]
) -> None:
    bundled = {"version": "1", "bundled_in": "docker_release"}
    records = {"docker_release": {"version": "1", "package": "x"}, "efa_driver_release": bundled}
    tree.cpu.write_text(json.dumps(records))
    done = run("bump", component, "2", *option)
    assert done.returncode == 2
    assert f"{option[0]} is of no use: this is a record of kind" in done.stderr
    assert json.loads(tree.cpu.read_text()) == records


@pytest.mark.parametrize("option", ["--url", "--sha256"])
@pytest.mark.parametrize("value", ["riscv64={}", "{}"])
def test_an_option_for_an_architecture_that_is_not_there_is_refused(
    tree: StackTree, run: Run, option: str, value: str
) -> None:
    tree.cpu.write_text(ARCHIVES.replace("aarch64", "x86_64", 0))
    done = run("bump", "nccl_tests_release", "2.20", option, value.format(GIVEN))
    assert done.returncode == 2
    assert option in done.stderr
    assert tree.cpu.read_text() == ARCHIVES


def test_the_file_keeps_its_permissions(tree: StackTree, run: Run) -> None:
    Path(tree.cpu).chmod(0o640)
    assert run("bump", "docker_release", "29.1.3", "--allow-broken").returncode == 0
    assert tree.cpu.stat().st_mode & 0o777 == 0o640
