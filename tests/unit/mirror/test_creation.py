"""What a bundle is for, and how it gets its name: whole, or not at all."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import bundles
import pytest
import servers
from tiny_vendor import ARCHIVE, URL

from bakehouse import layout
from bakehouse.errors import DownloadError, InputError
from bakehouse.mirror import artifacts, creation, manifest, record_builds, wheels
from bakehouse.mirror.recorder import Recording
from bakehouse.stacks import download
from bakehouse.stacks.download import Policy

ARTIFACT = artifacts.Artifact(
    component="archive_release", url=f"{URL}/archive.tar", sha256=download.digest_of(ARCHIVE)
)
WHEEL = "wheels/tiny-1-py3-none-any.whl"


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand-ins for builds and wheels: a file each; returns the images that were built."""
    built: list[str] = []

    def build(
        part: Path, wanted: creation.Request, recording: Recording, verified: set[str]
    ) -> dict[str, set[str]]:
        assert verified == {ARTIFACT.place}
        for place in ("http/m/dists/x/InRelease", "http/m/pool/a.txt"):
            if not (part / place).exists():
                (part / place).parent.mkdir(parents=True, exist_ok=True)
                (part / place).write_text("recorded")
                recording.fetched.add(place)
            recording.now = "image tiny"
            recording.note(place, f"http://m/{place}")
        (part / WHEEL).parent.mkdir(exist_ok=True)
        (part / WHEEL).write_text("wheel")
        built.extend(image.name for image in wanted.images)
        return {WHEEL: {"tiny_release"}}

    monkeypatch.setattr(creation, "_recorded", build)
    monkeypatch.setattr(record_builds, "sources", lambda _image: ("deb http://m/ x main",))
    monkeypatch.setattr(artifacts, "wanted", lambda *_: ([ARTIFACT], ["x_release: nothing"]))
    monkeypatch.setattr(layout, "STATE", tmp_path / "state")
    return built


@pytest.fixture
def vendor() -> Iterator[servers.Server]:
    with servers.serving() as server:
        server.files["/archive.tar"] = ARCHIVE
        yield server


@pytest.fixture
def policy(vendor: servers.Server) -> Policy:
    return Policy(mirrors={f"{URL}/": f"http://{vendor.address}/"}, attempts=1)


@pytest.fixture
def request_() -> creation.Request:
    return creation.request("cpu", ["cpu"], [])


def test_without_images_those_of_the_stack_with_all_they_stand_on() -> None:
    names = [image.name for image in creation.request("cpu", [], []).images]
    assert names[:2] == ["debian-12", "debian-12-machine"]
    assert {"cpu", "cpu-machine", "cpu-ddp"} <= set(names)
    assert names.index("cpu") < names.index("cpu-ddp")


@pytest.mark.parametrize(("stack", "image"), [("cpuu", "cpu"), ("cpu", "cpuu")])
def test_a_name_that_does_not_exist_is_refused(stack: str, image: str) -> None:
    with pytest.raises(InputError, match="there is no"):
        creation.request(stack, [image], [])


def test_inputs_change_with_a_role_but_not_with_its_documentation(
    request_: creation.Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = request_.inputs
    shutil.copytree(layout.ROLES, tmp_path / "roles")
    monkeypatch.setattr(layout, "ROLES", tmp_path / "roles")
    (tmp_path / "roles" / "base" / "README.md").write_text("other")
    assert request_.inputs == before
    (tmp_path / "roles" / "base" / "tasks" / "main.yml").write_text("---\n[]\n")
    assert request_.inputs != before


def test_a_bundle_names_all_its_files(
    request_: creation.Request, policy: Policy, tmp_path: Path
) -> None:
    created = creation.create(request_, tmp_path / "bundle", policy)
    found = manifest.read(tmp_path / "bundle")
    owners = {file.path: (file.origin, file.wanted_by) for file in found.files}
    assert owners == {
        "http/m/dists/x/InRelease": ("http://m/http/m/dists/x/InRelease", ("image tiny",)),
        "http/m/pool/a.txt": ("http://m/http/m/pool/a.txt", ("image tiny",)),
        ARTIFACT.place: (ARTIFACT.url, ("archive_release",)),
        WHEEL: (creation.PIP, ("tiny_release",)),
    }
    assert set(created.fetched) == set(owners)
    assert found.left_out == ("x_release: nothing",)
    assert found.sources == {"debian-12": ("deb http://m/ x main",)}
    assert sorted(path.name for path in tmp_path.glob("bundle*")) == ["bundle"]


def test_the_second_time_nothing_is_built_or_fetched(
    request_: creation.Request,
    policy: Policy,
    tmp_path: Path,
    recorded: list[str],
    vendor: servers.Server,
) -> None:
    creation.create(request_, tmp_path / "bundle", policy)
    recorded.clear()
    vendor.asked.clear()
    assert creation.create(request_, tmp_path / "bundle", policy).fetched == ()
    assert (recorded, vendor.asked) == ([], [])


def test_what_is_damaged_is_fetched_again_and_nothing_else(
    request_: creation.Request, policy: Policy, tmp_path: Path
) -> None:
    creation.create(request_, tmp_path / "bundle", policy)
    bundles.flip(tmp_path / "bundle" / ARTIFACT.place)
    assert creation.create(request_, tmp_path / "bundle", policy).fetched == (ARTIFACT.place,)


def test_a_refresh_takes_new_lists_and_keeps_packages(
    request_: creation.Request, policy: Policy, tmp_path: Path
) -> None:
    creation.create(request_, tmp_path / "bundle", policy)
    again = creation.create(replace(request_, refresh=True), tmp_path / "bundle", policy)
    assert again.fetched == ("http/m/dists/x/InRelease",)


def test_a_failure_leaves_the_earlier_bundle_as_it_was(
    request_: creation.Request, policy: Policy, tmp_path: Path, vendor: servers.Server
) -> None:
    creation.create(request_, tmp_path / "bundle", policy)
    (tmp_path / "bundle" / ARTIFACT.place).unlink()
    before = (tmp_path / "bundle" / "manifest.json").read_bytes()
    vendor.files["/archive.tar"] = b"other"
    with pytest.raises(DownloadError, match="wrong checksum"):
        creation.create(request_, tmp_path / "bundle", policy)
    assert (tmp_path / "bundle" / "manifest.json").read_bytes() == before
    vendor.files["/archive.tar"] = ARCHIVE
    creation.create(request_, tmp_path / "bundle", policy)
    assert (tmp_path / "bundle" / ARTIFACT.place).read_bytes() == ARCHIVE


def test_a_folder_that_is_something_else_is_left_alone(
    request_: creation.Request, policy: Policy, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is no bundle"):
        creation.create(request_, tmp_path, policy)
    assert wheels.WHEELS not in {path.name for path in tmp_path.iterdir()}
