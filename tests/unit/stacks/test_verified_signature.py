"""A download that has to be signed: by the key that is known, over the file that came."""

import hashlib
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import servers
from module_runs import RunHere
from servers import Server
from vendor_mirror import signing
from vendor_mirror.signing import Key, gpg

CONTENT = b"an archive"
ANOTHER = b"another archive"

Given = dict[str, Any]
Signed = Callable[..., Given]


@pytest.fixture(scope="module")
def key() -> Iterator[Key]:
    with signing.key() as made:
        yield made


@pytest.fixture(scope="module")
def stranger() -> Iterator[Key]:
    with signing.key("A stranger") as made:
        yield made


@pytest.fixture
def vendor() -> Iterator[Server]:
    with servers.serving() as server:
        server.files["/archive"] = CONTENT
        yield server


@pytest.fixture
def openpgp(module: ModuleType) -> ModuleType:
    """What the module takes its checks from."""
    return importlib.import_module(module.check_signature.__module__)


@pytest.fixture(params=["gpgv", "gpg"])
def checker(
    request: pytest.FixtureRequest, openpgp: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The only program that is there to check with."""
    there = [command for command in openpgp.CHECKERS if command[0] == request.param]
    monkeypatch.setattr(openpgp, "CHECKERS", there)
    return str(request.param)


def signature(key: Key, content: bytes, folder: Path, *, armour: bool = False) -> bytes:
    source, made = folder / "signed", folder / "signature"
    source.write_bytes(content)
    key.sign(source, made, armour=armour)
    return made.read_bytes()


@pytest.fixture
def signed(vendor: Server, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Signed:
    """Serve a signature; returns the arguments of the module."""
    folder = tmp_path_factory.mktemp("signing")

    def serve(by: Key = key, over: bytes = CONTENT, *, armour: bool = False) -> Given:
        vendor.files["/archive.sig"] = signature(by, over, folder, armour=armour)
        address = f"http://{vendor.address}/archive"
        return {
            "url": address,
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "attempts": 1,
            "signature": {
                "url": f"{address}.sig",
                "key": key.public.decode(),
                "fingerprint": key.fingerprint,
            },
        }

    return serve


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("checker")
@pytest.mark.parametrize("armour", [False, True])
def test_a_signed_file_comes_once(
    run_here: RunHere, signed: Signed, vendor: Server, tmp_path: Path, armour: bool
) -> None:
    given = signed(armour=armour) | {"dest": str(tmp_path / "archive")}
    given["signature"]["fingerprint"] = given["signature"]["fingerprint"].lower()
    assert run_here(**given, _ansible_check_mode=True)[1]["changed"] is True
    assert names(tmp_path) == []
    status, result = run_here(**given)
    assert (status, result["changed"]) == (0, True), result
    assert (tmp_path / "archive").read_bytes() == CONTENT
    assert run_here(**given)[1]["changed"] is False
    assert vendor.asked == ["/archive", "/archive.sig"]
    assert names(tmp_path) == ["archive"]


@pytest.mark.usefixtures("checker")
def test_a_signature_of_another_key_is_refused(
    run_here: RunHere, signed: Signed, key: Key, stranger: Key, tmp_path: Path
) -> None:
    status, result = run_here(**signed(by=stranger), dest=str(tmp_path / "archive"))
    assert status == 1
    assert f"not one of the key {key.fingerprint}" in result["msg"]
    assert names(tmp_path) == []


@pytest.mark.usefixtures("checker")
def test_a_signature_of_another_file_is_refused(
    run_here: RunHere, signed: Signed, key: Key, tmp_path: Path
) -> None:
    status, result = run_here(**signed(over=ANOTHER), dest=str(tmp_path / "archive"))
    assert status == 1
    assert f"not one of the key {key.fingerprint}" in result["msg"]
    assert "BAD signature" in result["msg"]
    assert names(tmp_path) == []


@pytest.mark.usefixtures("checker")
@pytest.mark.parametrize("served", [b"", b"<html>Not found</html>"], ids=["nothing", "a page"])
def test_what_is_no_signature_is_refused(
    run_here: RunHere, signed: Signed, vendor: Server, tmp_path: Path, served: bytes
) -> None:
    given = signed()
    vendor.files["/archive.sig"] = served
    status, result = run_here(**given, dest=str(tmp_path / "archive"))
    assert status == 1
    assert "not one of the key" in result["msg"]
    assert names(tmp_path) == []


def test_the_signature_does_not_stand_in_for_the_digest(
    run_here: RunHere, signed: Signed, vendor: Server, tmp_path: Path
) -> None:
    given = signed(over=ANOTHER)
    vendor.files["/archive"] = ANOTHER
    status, result = run_here(**given, dest=str(tmp_path / "archive"))
    assert status == 1
    assert "it is not the file that was asked for" in result["msg"]
    assert vendor.asked == ["/archive"]
    given.pop("sha256")
    status, result = run_here(**given, dest=str(tmp_path / "archive"))
    assert status == 1
    assert "sha256" in result["msg"]


def test_a_key_with_another_fingerprint_is_refused(
    run_here: RunHere, signed: Signed, key: Key, stranger: Key, tmp_path: Path
) -> None:
    given = signed()
    given["signature"]["fingerprint"] = stranger.fingerprint
    status, result = run_here(**given, dest=str(tmp_path / "archive"))
    assert status == 1
    assert f"expected {stranger.fingerprint}, found {key.fingerprint}" in result["msg"]
    assert names(tmp_path) == []


def test_a_second_key_beside_the_known_one_is_refused(
    run_here: RunHere, signed: Signed, stranger: Key, tmp_path: Path
) -> None:
    given = signed(by=stranger)
    given["signature"]["key"] += stranger.public.decode()
    status, result = run_here(**given, dest=str(tmp_path / "archive"))
    assert status == 1
    assert stranger.fingerprint in result["msg"]
    assert names(tmp_path) == []


def test_a_signature_that_is_not_there_is_named(
    run_here: RunHere, signed: Signed, vendor: Server, tmp_path: Path
) -> None:
    given = signed()
    del vendor.files["/archive.sig"]
    status, result = run_here(**given, dest=str(tmp_path / "archive"))
    assert status == 1
    assert f"its signature {given['signature']['url']}: the server answered 404" in result["msg"]
    assert names(tmp_path) == []


def test_where_nothing_can_check_it_is_told_what_to_install(
    run_here: RunHere, signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = signed()
    monkeypatch.setenv("PATH", str(tmp_path))
    status, result = run_here(**given, dest=str(tmp_path / "archive"))
    assert status == 1
    assert "neither gpgv nor gpg is installed" in result["msg"]
    assert "install the package gpgv (apt) or gnupg2 (dnf)" in result["msg"]
    assert names(tmp_path) == []


@pytest.mark.usefixtures("checker")
def test_a_subkey_may_sign_and_the_known_copy_of_the_key_may_have_expired_since(
    run_here: RunHere, signed: Signed, key: Key, tmp_path: Path
) -> None:
    """As with a vendor who moves the date of a key's expiry, of which an old copy is known."""
    past = ("--faked-system-time", "20200101T000000", "--passphrase", "")
    name = f"expires {tmp_path.name}"
    gpg(key.home, *past, "--quick-generate-key", name, "rsa2048", "cert", "1y")
    primary = fingerprint_of(key, name)
    gpg(key.home, *past, "--quick-add-key", primary, "rsa2048", "sign", "1y")
    given = signed() | {"dest": str(tmp_path / "archive")}
    given["signature"] |= {
        "key": gpg(key.home, "--armor", "--export", primary).decode(),
        "fingerprint": primary,
    }
    assert "not one of the key" in run_here(**given)[1]["msg"]
    later = ("--faked-system-time", "20200601T000000")
    gpg(key.home, *later, "--quick-set-expire", primary, "0")
    gpg(key.home, *later, "--quick-set-expire", primary, "0", "*")
    given["url"] = (tmp_path / "served").as_uri()
    given["signature"]["url"] = (tmp_path / "served.sig").as_uri()
    (tmp_path / "served").write_bytes(CONTENT)
    options = ("--local-user", primary, "--output", str(tmp_path / "served.sig"))
    gpg(key.home, *options, "--detach-sign", str(tmp_path / "served"))
    status, result = run_here(**given)
    assert status == 0, result


def fingerprint_of(key: Key, name: str) -> str:
    listing = gpg(key.home, "--with-colons", "--list-keys", f"={name}").decode()
    return next(line for line in listing.splitlines() if line.startswith("fpr")).split(":")[9]
