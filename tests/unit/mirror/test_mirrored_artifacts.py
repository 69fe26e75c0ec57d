"""Archives and keys are chosen by platform and verified before they are stored."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import git_archives
import pytest
import servers
from git_archives import Committed
from known_keys import FINGERPRINT
from known_keys import KEY as OF_VENDOR
from ruamel.yaml import YAML

from bakehouse import layout
from bakehouse.errors import DownloadError, InputError
from bakehouse.mirror import artifacts
from bakehouse.stacks.download import Policy
from bakehouse.stacks.records import SourceRecord
from bakehouse.stacks.stack import Stack, load_stack

ARCHIVE, KEY = b"an archive", b"a key"
VENDOR = "https://vendor.example"
HERE = "debian12-x86_64"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def repository(key: str) -> dict[str, str]:
    return {
        "repository": f"{VENDOR}/{key}",
        "key_url": f"{VENDOR}/{key}.asc",
        "key_sha256": digest(KEY),
    }


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    records = {
        "docker_release": {"version": "1", "package": "docker.io"},
        "enroot_release": {"version": "1", "url": f"{VENDOR}/e.tar", "sha256": digest(ARCHIVE)},
        "aws_cli_release": {
            "version": "1",
            "by_architecture": {
                name: {"url": f"{VENDOR}/cli-{name}.zip", "sha256": digest(ARCHIVE)}
                for name in ("x86_64", "aarch64")
            },
            "signature": {"suffix": ".sig", "key": OF_VENDOR, "fingerprint": FINGERPRINT},
        },
        "nvidia_dcgm_release": {
            "version": "1",
            "package": "dcgm",
            "by_platform": {
                name: repository(name) for name in ("ubuntu24.04-x86_64", "amazon2023-aarch64")
            },
        },
    }
    path = tmp_path / "stacks"
    path.mkdir()
    with (path / "tiny.yml").open("w") as file:
        YAML().dump(records, file)
    monkeypatch.setattr(layout, "STACKS", path)
    monkeypatch.setattr("bakehouse.stacks.stack.known_components", lambda: set(records))
    return load_stack("tiny")


@pytest.fixture
def vendor() -> Iterator[servers.Server]:
    with servers.serving() as server:
        server.files |= {"/e.tar": ARCHIVE, "/key.asc": KEY}
        yield server


def policy(vendor: servers.Server) -> Policy:
    return Policy(mirrors={f"{VENDOR}/": f"http://{vendor.address}/"}, attempts=1)


def test_one_platform_has_its_own_and_what_serves_all(stack: Stack) -> None:
    found, left_out = artifacts.wanted(stack, ["ubuntu24.04-x86_64"])
    assert [a.place for a in found] == [
        "https/vendor.example/e.tar",
        "https/vendor.example/cli-x86_64.zip",
        "https/vendor.example/cli-x86_64.zip.sig",
        "https/vendor.example/ubuntu24.04-x86_64.asc",
    ]
    assert left_out == []


def test_what_a_platform_cannot_have_is_told(stack: Stack) -> None:
    _, left_out = artifacts.wanted(stack, [HERE])
    assert left_out == [f"nvidia_dcgm_release: nothing for {HERE}"]


def test_all_platforms_are_those_of_the_records_and_this_one(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "this_machine", lambda: HERE)
    chosen = artifacts.chosen_platforms(stack, ["all"])
    assert chosen == ("amazon2023-aarch64", HERE, "ubuntu24.04-x86_64")
    assert len(artifacts.wanted(stack, chosen)[0]) == 7
    assert artifacts.chosen_platforms(stack, []) == (HERE,)


def test_a_platform_that_no_record_knows_is_refused(stack: Stack) -> None:
    with pytest.raises(InputError, match=r"ubuntu24\.04-x86_64"):
        artifacts.chosen_platforms(stack, ["ubuntu24.4-x86_64"])


def test_what_is_there_is_not_fetched_again(
    stack: Stack, vendor: servers.Server, tmp_path: Path
) -> None:
    archive = artifacts.wanted(stack, [HERE])[0][0]
    assert artifacts.fetch(archive, tmp_path, policy(vendor))
    assert (tmp_path / archive.place).read_bytes() == ARCHIVE
    assert not artifacts.fetch(archive, tmp_path, policy(vendor))
    assert vendor.asked == ["/e.tar"]


@pytest.mark.parametrize(
    "expected",
    [{"sha256": digest(b"other")}, {"fingerprint": "A" * 40}, {"is_signature": True}],
    ids=["digest", "fingerprint", "signature"],
)
def test_what_is_not_promised_is_not_stored(
    vendor: servers.Server, tmp_path: Path, expected: dict[str, Any]
) -> None:
    wanted = artifacts.Artifact(component="x_release", url=f"{VENDOR}/key.asc", **expected)
    with pytest.raises(DownloadError, match="wrong"):
        artifacts.fetch(wanted, tmp_path, policy(vendor))
    assert [path for path in tmp_path.rglob("*") if "vendor" in str(path) and path.is_file()] == []


@pytest.fixture
def committed(tmp_path: Path) -> Committed:
    return git_archives.commit(tmp_path / "repository")


@pytest.fixture
def of_source(committed: Committed, vendor: servers.Server) -> Stack:
    """The stack cpu, with a record of a source for one of its test cases."""
    vendor.files["/tool.tar.gz"] = committed.archive
    record = SourceRecord(
        version=committed.commit, url=f"{VENDOR}/tool.tar.gz", git_tree=committed.tree
    )
    return replace(load_stack("cpu"), records={"cpu_ddp_source_release": record})


def test_a_source_is_wanted_with_its_case_alone(of_source: Stack) -> None:
    assert artifacts.wanted(of_source, [HERE]) == ([], [])
    assert artifacts.sources(of_source, ["fsdp"]) == []
    (found,) = artifacts.sources(of_source, ["fsdp", "cpu-ddp"])
    assert found.place == "https/vendor.example/tool.tar.gz"


def test_a_source_is_verified_by_its_tree_before_it_is_stored(
    of_source: Stack, committed: Committed, vendor: servers.Server, tmp_path: Path
) -> None:
    (found,) = artifacts.sources(of_source, ["cpu-ddp"])
    bundle = tmp_path / "bundle"
    with pytest.raises(DownloadError, match="wrong git tree"):
        artifacts.fetch(replace(found, git_tree="0" * 40), bundle, policy(vendor))
    assert not (bundle / found.place).exists()
    assert artifacts.fetch(found, bundle, policy(vendor))
    assert (bundle / found.place).read_bytes() == committed.archive
    assert not artifacts.fetch(found, bundle, policy(vendor))


# A packet of the kind that a signature is, of two bytes; armoured, too.
SIGNATURES = {
    "binary": b"\x88\x02ab",
    "armoured": b"-----BEGIN PGP SIGNATURE-----\n\niAJhYg==\n=abcd\n-----END PGP SIGNATURE-----\n",
}


@pytest.mark.parametrize("kind", SIGNATURES)
def test_a_signature_is_stored_as_it_is_and_not_fetched_again(
    stack: Stack, vendor: servers.Server, tmp_path: Path, kind: str
) -> None:
    signature = artifacts.wanted(stack, ["debian12-aarch64"])[0][-1]
    assert signature.place == "https/vendor.example/cli-aarch64.zip.sig"
    vendor.files["/cli-aarch64.zip.sig"] = SIGNATURES[kind]
    assert artifacts.fetch(signature, tmp_path, policy(vendor))
    assert (tmp_path / signature.place).read_bytes() == SIGNATURES[kind]
    assert not artifacts.fetch(signature, tmp_path, policy(vendor))
