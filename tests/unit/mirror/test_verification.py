"""A bundle is used only if it is what its manifest says."""

import json
from pathlib import Path

import bundles
import pytest

from bakehouse import layout
from bakehouse.errors import DownloadError, InputError
from bakehouse.mirror import manifest, verification
from bakehouse.mirror.server import MANIFEST

KEY = "https/vendor.example/key.asc"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "STATE", tmp_path / "state")


def test_a_whole_bundle_has_no_findings(folder: Path) -> None:
    assert verification.findings(folder, manifest.read(folder)) == []


def test_a_missing_file_is_named_with_its_origin_and_who_wants_it(folder: Path) -> None:
    (folder / KEY).unlink()
    found = verification.findings(folder, manifest.read(folder))
    assert found == [f"{KEY}: missing ({bundles.ORIGIN}, for tiny_release)"]


def test_a_flipped_byte_is_named_with_both_digests(folder: Path) -> None:
    bundles.flip(folder / KEY)
    (found,) = verification.findings(folder, manifest.read(folder))
    assert found.startswith(f"{KEY}: altered: expected ")


def test_a_file_that_is_too_short_or_not_listed_is_named(folder: Path) -> None:
    (folder / KEY).write_bytes(b"x")
    (folder / "stranger").write_bytes(b"")
    found = verification.findings(folder, manifest.read(folder))
    assert found == [
        f"{KEY}: has 1 bytes, not 7 ({bundles.ORIGIN})",
        "stranger: not in the manifest",
    ]


def test_what_was_verified_once_is_verified_again_when_it_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = manifest.read(folder)
    verification.refuse_broken(folder, found)
    with monkeypatch.context() as patched:
        patched.setattr(verification, "findings", lambda *_: pytest.fail("it was read again"))
        verification.refuse_broken(folder, found)
    bundles.flip(folder / KEY)
    with pytest.raises(DownloadError, match="altered") as failure:
        verification.refuse_broken(folder, found)
    assert (failure.value.exit_status, failure.value.where) == (4, str(folder))


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no bundle"):
        manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"complete": False}, InputError, "not finished"),
        ({"version": 99}, InputError, "format is 99"),
        ({"files": [{"path": "x"}]}, DownloadError, "damaged"),
        ({"surprise": 1}, DownloadError, "damaged"),
    ],
)
def test_a_manifest_that_is_not_right_is_refused(
    folder: Path, change: dict[str, object], error: type[Exception], told: str
) -> None:
    data = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**data, **change}))
    with pytest.raises(error, match=told):
        manifest.read(folder)


def test_a_manifest_that_is_cut_off_is_refused(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text[: len(text) // 2])
    with pytest.raises(DownloadError, match="damaged"):
        manifest.read(folder)
