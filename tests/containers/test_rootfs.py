"""The image at the bottom: from a registry, from a mirror, and on the days when neither is well."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import servers

from bakehouse import engine, layout
from bakehouse.builder import rootfs
from bakehouse.errors import BuildError, DownloadError, HostError
from bakehouse.images import Image, load_images

pytestmark = pytest.mark.docker

SUITE = "bookworm"


def image(**fields: object) -> Image:
    """A rootfs image with a name of its own."""
    entry = {"kind": "rootfs", "distribution": "debian", "suite": SUITE, "packages": ["base-files"]}
    return Image.model_validate({**entry, "name": f"test-{uuid4().hex[:10]}", **fields})


def tarball(path: Path, text: str = "hello") -> str:
    """A root file system of one file."""
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("etc/motd")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    return "0" * 64


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "STATE", tmp_path / "state")


@pytest.fixture
def made() -> Iterator[list[str]]:
    """References of images to be removed at the end."""
    references: list[str] = []
    yield references
    for reference in references:
        found = engine.image(reference)
        if found is not None:
            engine.connect().images.remove(str(found.id), force=True)


@pytest.fixture
def registry() -> Iterator[servers.Server]:
    with servers.serving() as server:
        yield server


def stand_in_for_bootstrap(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have mmdebstrap, which takes 20 s, replaced by a tarball of one file; returns its uses."""
    used: list[str] = []

    def bootstrap(wanted: Image, path: Path, **_options: object) -> str:
        used.append(wanted.name)
        return tarball(path)

    monkeypatch.setattr(rootfs, "bootstrap", bootstrap)
    return used


def test_where_no_registry_answers_it_is_bootstrapped(
    made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = stand_in_for_bootstrap(monkeypatch)
    wanted = image(reference=f"127.0.0.1:9/debian@sha256:{'0' * 64}")
    made.append(wanted.repository)
    digest, there = rootfs.ensure(wanted)
    assert (used, there) == ([wanted.name], False)
    assert rootfs.ensure(wanted) == (digest, True)
    assert used == [wanted.name], "the second time nothing is made"
    assert not list((layout.STATE / "rootfs").iterdir())


def test_the_same_tarball_gives_the_same_digest(
    made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_for_bootstrap(monkeypatch)
    wanted = image()
    made.append(wanted.repository)
    first, _ = rootfs.ensure(wanted)
    second, there = rootfs.ensure(wanted, refresh=True)
    assert not there
    assert second == first


def test_it_is_pulled_by_digest_where_a_registry_answers(
    registry: servers.Server, made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = stand_in_for_bootstrap(monkeypatch)
    extended: list[str] = []
    monkeypatch.setattr(
        rootfs, "_add_packages", lambda _image, base, _wanted: extended.append(base)
    )
    # Content that the engine has not seen: what it has, it does not fetch again.
    tarball(tmp_path / "layer.tar", uuid4().hex)
    reference = servers.publish(registry, "debian", (tmp_path / "layer.tar").read_bytes())
    made.append(reference)
    rootfs.ensure(image(reference=reference))
    assert (extended, used) == ([reference], [])
    found = engine.image(reference)
    assert found is not None
    assert engine.connect().api.inspect_image(reference)["RepoDigests"] == [reference]


@pytest.mark.timeout(15)
def test_a_registry_that_says_nothing_counts_as_none(
    registry: servers.Server,
    made: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    used = stand_in_for_bootstrap(monkeypatch)
    monkeypatch.setattr(engine, "REGISTRY_SILENCE_S", 1)
    registry.files["/v2/"] = b"{}"
    registry.silent = True
    wanted = image(reference=f"{registry.address}/debian@sha256:{'0' * 64}")
    made.append(wanted.repository)
    rootfs.ensure(wanted)
    assert any("/manifests/" in path for path in registry.asked)
    assert used == [wanted.name]
    assert "it said nothing for 1 s" in capsys.readouterr().err


def test_our_own_image_is_asked_of_a_registry_first() -> None:
    reference = load_images()["debian-12"].reference
    assert reference is not None
    assert reference.startswith("debian@sha256:")


@pytest.mark.parametrize("altered", ["manifests", "blobs"])
def test_an_altered_byte_from_the_registry_is_refused(
    registry: servers.Server, altered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the image then bootstrapped, as if no registry had answered."""
    used = stand_in_for_bootstrap(monkeypatch)
    # Content that the engine has not seen: what it has, it does not fetch again.
    tarball(tmp_path / "layer.tar", uuid4().hex)
    reference = servers.publish(registry, "debian", (tmp_path / "layer.tar").read_bytes())
    registry.flip(max((path for path in registry.files if altered in path), key=len))
    wanted = image(reference=reference)
    with pytest.raises(DownloadError, match="something else than was asked for"):
        rootfs.ensure(wanted)
    assert used == []
    assert engine.image(reference) is None
    assert engine.image(wanted.repository) is None


@pytest.mark.parametrize("how", ["404", "cut off"])
def test_a_mirror_that_fails_leaves_no_image_and_no_file(
    registry: servers.Server, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = registry
    path = f"/debian/dists/{SUITE}/InRelease"
    if how == "cut off":
        mirror.files[path] = b"-----BEGIN PGP SIGNED MESSAGE-----\n" * 100
        mirror.cut_off.add(path)
    monkeypatch.setenv(rootfs.MIRROR, f"http://{mirror.address}/debian")
    wanted = image()
    with pytest.raises(BuildError) as failure:
        rootfs.ensure(wanted)
    assert path in mirror.asked
    assert "mirror" in failure.value.remedy
    assert engine.image(wanted.repository) is None
    assert not list((layout.STATE / "rootfs").iterdir())


def test_a_user_who_may_not_bootstrap_is_told_what_root_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mmdebstrap"
    program.write_text(
        "#!/bin/sh\necho 'E: unable to pick chroot mode automatically' >&2; exit 25\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(HostError, match="user namespace") as failure:
        rootfs.ensure(image())
    assert "as root: apt-get install uidmap" in failure.value.remedy
    assert not list((layout.STATE / "rootfs").iterdir())


def test_a_package_of_the_mirror_with_one_flipped_byte_is_refused(
    registry: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = registry
    known = rootfs.sources(SUITE)
    if not known:
        pytest.skip(f"apt knows no mirror of {SUITE} here")
    address = known[0].split()[1].rstrip("/")
    mirror.upstream, mirror.spoilt = address.removesuffix("/debian"), ".deb"
    monkeypatch.setenv(rootfs.MIRROR, f"http://{mirror.address}/debian")
    wanted = image()
    with pytest.raises(BuildError, match="Hash Sum mismatch"):
        rootfs.ensure(wanted)
    assert any(path.endswith(".deb") for path in mirror.asked)
    assert engine.image(wanted.repository) is None
    assert not list((layout.STATE / "rootfs").iterdir())


@pytest.mark.parametrize("packages", [["base-files"], pytest.param(None, marks=pytest.mark.slow)])
def test_two_bootstraps_give_one_digest(
    tmp_path: Path, packages: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everyday of a few packages, else of the real image; by two users who differ in all else."""
    wanted = image() if packages else load_images()["debian-12"]
    variant = "extract" if packages else "minbase"
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    first = rootfs.bootstrap(wanted, tmp_path / "1.tar", variant=variant)
    for name, text in {"PYTHONDONTWRITEBYTECODE": "1", "LANG": "C", "TZ": "Asia/Tokyo"}.items():
        monkeypatch.setenv(name, text)
    umask = os.umask(0o077)
    try:
        second = rootfs.bootstrap(wanted, tmp_path / "2.tar", variant=variant)
    finally:
        os.umask(umask)
    assert second == first
