"""From a bundle an image is built where there is no network; from a damaged one it is not."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bundles
import layer_scan
import pytest
import servers
import tiny_vendor
from bundled_site import CANARY, Site, reaches
from tiny_tree import STAMPS, Tree

from bakehouse import engine
from bakehouse.mirror import manifest
from bakehouse.mirror.server import MANIFEST, NOT_THERE

pytestmark = pytest.mark.docker

KINDS = {
    "a package of the distribution": "http/**/hello_*.deb",
    "a package of the vendor": f"https/vendor.example/apt/{tiny_vendor.PACKAGE}",
    "an archive": "https/vendor.example/archive.tar",
    "a signature": "https/vendor.example/archive.tar.sig",
    "a key": "https/vendor.example/apt/key.asc",
    "a wheel": "wheels/mitogen-*.whl",
}


def some_every_day(*kinds: str) -> list[Any]:
    """All kinds, but most of them only with --slow: each of these builds some layers."""
    slow = pytest.mark.slow
    return [pytest.param(kind, marks=() if kind in kinds else slow) for kind in KINDS]


def the_file(bundle: Path, kind: str) -> Path:
    (path,) = bundle.glob(KINDS[kind])
    return path


def forge(bundle: Path, path: Path) -> None:
    """Have the manifest say of a file what is there now, if anything."""
    data = json.loads((bundle / MANIFEST).read_text())
    place = str(path.relative_to(bundle))
    entry = next(file for file in data["files"] if file["path"] == place)
    data["files"].remove(entry)
    if path.exists():
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        data["files"].append({**entry, "size": len(content), "sha256": digest})
    (bundle / MANIFEST).write_text(json.dumps(data))


def test_the_bundle_has_every_kind_of_download_and_says_who_wants_it(site: Site) -> None:
    found = manifest.read(site.bundle)
    owners = {file.path: file.wanted_by for file in found.files}
    for kind in KINDS:
        assert owners[str(the_file(site.bundle, kind).relative_to(site.bundle))], kind
    assert owners["https/vendor.example/archive.tar"] == (
        "archive_release",
        f"image {site.tree.image}",
    )
    assert found.images == ("debian-12", site.tree.image)
    done = site.run("mirror", "check", str(site.bundle))
    assert done.status == 0, done.stderr


def test_recording_leaves_no_caches_and_no_image_of_the_users(site: Site) -> None:
    """That it leaves no images of its own is looked at when all tests have ended."""
    assert engine.image(site.tree.reference) is None
    assert not site.bundle.with_name(f"{site.bundle.name}.part").exists()
    assert not (site.tree.state / "recording").exists() or not any(
        (site.tree.state / "recording").iterdir()
    )


def test_what_the_interrupted_attempt_had_is_not_fetched_again(site: Site) -> None:
    assert site.vendor.asked.count("/archive.tar") == 1
    assert site.vendor.asked.count("/apt/key.asc") == 1


def test_a_second_time_nothing_is_fetched(site: Site) -> None:
    asked = list(site.vendor.asked)
    before = (site.bundle / MANIFEST).read_bytes()
    done = site.create()
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout)["fetched"] == []
    assert site.vendor.asked == asked
    assert (site.bundle / MANIFEST).read_bytes() == before


def test_a_layer_with_a_network_reaches_this_machine(tree: Tree, canary: servers.Server) -> None:
    """The canary of the next test sings where nobody takes the network away."""
    host, _, port = canary.address.partition(":")
    tree.role("canary", CANARY.format(host=host, port=port, stamps=STAMPS))
    assert tree.build().status == 0
    assert tree.stamps()["canary"] == "reached"
    assert reaches(canary.address, network=True)


def test_the_image_is_built_from_the_bundle_without_a_network(
    site: Site, canary: servers.Server, tmp_path: Path
) -> None:
    assert not reaches(canary.address, network=False)
    done = site.build(site.bundle, tmp_path / "state")
    assert done.status == 0, done.stderr
    stamps = site.tree.stamps()
    assert "Network is unreachable" in stamps["canary"]
    installed = ["dpkg-query", "--show", "--showformat", "${Package} ", "tool", "hello"]
    assert engine.output_of(site.tree.reference, installed).split() == ["hello", "tool"]
    base = "bakehouse/debian-12:latest"
    assert layer_scan.findings(site.tree.reference, base) == []
    again = site.build(site.bundle, tmp_path / "state")
    assert again.status == 0, again.stderr
    assert site.tree.stamps() == stamps, "the second time nothing runs"


@pytest.mark.parametrize("kind", KINDS)
def test_without_one_file_nothing_is_built_and_the_file_is_named(
    site: Site, copied: Callable[[], Path], tmp_path: Path, kind: str
) -> None:
    bundle = copied()
    path = the_file(bundle, kind)
    path.unlink()
    done = site.build(bundle, tmp_path / "state")
    assert done.status == 4, done.stderr
    assert f"{path.relative_to(bundle)}: missing" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_with_one_flipped_byte_it_is_refused(
    site: Site, copied: Callable[[], Path], tmp_path: Path, kind: str
) -> None:
    bundle = copied()
    path = the_file(bundle, kind)
    bundles.flip(path)
    done = site.build(bundle, tmp_path / "state")
    assert done.status == 4, done.stderr
    assert f"{path.relative_to(bundle)}: altered" in done.stderr


@pytest.mark.parametrize("kind", some_every_day("a package of the vendor", "a wheel"))
def test_what_was_never_recorded_is_named_by_whoever_asks_for_it(
    site: Site, copied: Callable[[], Path], tmp_path: Path, kind: str
) -> None:
    """The manifest does not know the file either: so only the build itself can miss it."""
    bundle = copied()
    path = the_file(bundle, kind)
    path.unlink()
    forge(bundle, path)
    site.tree.remove()
    done = site.build(bundle, tmp_path / "state")
    assert done.status == 4, done.stderr
    assert path.name.split("-")[0].split("_")[0] in done.stderr
    assert kind == "a wheel" or NOT_THERE in done.stderr


@pytest.mark.parametrize("kind", some_every_day("a package of the distribution", "a wheel"))
def test_a_forged_manifest_does_not_help_an_altered_file(
    site: Site, copied: Callable[[], Path], tmp_path: Path, kind: str
) -> None:
    """apt, pip and the role fetch verify by what the distribution and the stack say."""
    bundle = copied()
    path = the_file(bundle, kind)
    bundles.flip(path)
    forge(bundle, path)
    site.tree.remove()
    done = site.build(bundle, tmp_path / "state")
    assert done.status in {4, 5}, done.stderr
    words = ("Hash Sum mismatch", "DO NOT MATCH", "it is not the file that was asked for")
    words += ("its signature is not one of the key",)
    assert any(word in done.stderr for word in words), done.stderr


def test_a_bundle_that_is_served_from_nowhere_is_an_error(site: Site) -> None:
    done = site.run("build", site.tree.image, "--mirror", "http://127.0.0.1:9/")
    assert (done.status, "loopback" in done.stderr) == (2, True)
    done = site.run("build", site.tree.image, "--mirror", f"http://{engine.bridge_address()}:9/")
    assert (done.status, "no bundle is served there" in done.stderr) == (4, True)


def test_check_names_all_that_is_wrong(site: Site, copied: Callable[[], Path]) -> None:
    bundle = copied()
    lost = [path for path in (bundle / "https").rglob("*") if path.is_file()]
    shutil.rmtree(bundle / "https")
    done = site.run("mirror", "check", str(bundle))
    assert done.status == 1
    assert done.stderr.count(": missing (") == len(lost) > 3
