"""What several tests of launching share."""

from pathlib import Path

import pytest

from bakehouse import layout


@pytest.fixture
def tiny_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty containers/ in place of the repository's, and a list of images without any case."""
    images = "images:\n  plain: {kind: rootfs, distribution: debian, suite: bookworm}\n"
    (tmp_path / "images.yml").write_text(images)
    monkeypatch.setattr(layout, "IMAGES_FILE", tmp_path / "images.yml")
    monkeypatch.setattr(layout, "CONTAINERS", tmp_path)
    monkeypatch.setattr(layout, "SHARED", tmp_path / "shared")
    return tmp_path
