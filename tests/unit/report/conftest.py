"""A report of an image that does not exist."""

import json
from pathlib import Path

import pytest
from made_results import IMAGE_ID, result

from bakehouse.report.content import Report
from bakehouse.report.inventory import Inventory, Package


@pytest.fixture
def inventory() -> Inventory:
    return Inventory(
        distribution="debian",
        release="12",
        architecture="x86_64",
        packages=[
            Package(kind="deb", name="libc6", version="2.36-9+deb12u10", architecture="amd64"),
            Package(kind="deb", name="libstdc++6", version="1:12.2.0-14", architecture="amd64"),
            Package(
                kind="generic",
                name="gdrcopy",
                version="2.5",
                url="https://vendor.example/gdrcopy-2.5.tar.gz",
                sha256="cd" * 32,
            ),
            Package(kind="pypi", name="Jinja2", version="3.1.6", licence="BSD-3-Clause"),
        ],
    )


@pytest.fixture
def report(inventory: Inventory) -> Report:
    identity = {
        "image": "cpu",
        "commit": "0" * 40,
        "stack": {"name": "cpu", "digest": "ef" * 32},
        "os": {"id": "debian", "version_id": "12", "architecture": "x86_64"},
        "components": [{"component": "python", "version": "3.11.2"}],
    }
    return Report(
        image="cpu",
        image_id=IMAGE_ID,
        size_bytes=1_180_000_000,
        made="2026-11-24T02:00:00+00:00",
        judge="12" * 32,
        identity=identity,
        stack_versions={"python_release": "3.11"},
        results=[result("memory"), result("clock", "skip"), result("swap", "warn")],
        facts={"python": "3.11.2"},
        inventory=inventory,
        build={
            "image": "cpu",
            "build": "0a1b2c3d4e5f",
            "layers": [{"name": "base", "key": "9" * 64, "seconds": 0.0, "built_seconds": 7.5,
                        "bytes": 1000}],
        },
    )  # fmt: skip


@pytest.fixture
def folder(report: Report, tmp_path: Path) -> Path:
    """A folder with a report.json, as `bakehouse check` leaves it."""
    path = tmp_path / "cpu"
    path.mkdir()
    (path / "report.json").write_text(json.dumps(report.as_json()))
    return path
