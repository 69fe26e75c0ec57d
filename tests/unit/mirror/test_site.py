"""What a closed site is told, by the command that serves the bundle."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import bundles
import pytest

from bakehouse.layout import ROOT
from bakehouse.mirror import manifest, site

SOURCE = "deb http://mirror.example/debian/ bookworm main"


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A bundle with a source."""
    return bundles.make(
        tmp_path / "bundle",
        {"https/vendor.example/key.asc": b"the key"},
        sources={"debian-12": (SOURCE,)},
    )


def run(state: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "bakehouse", "mirror", *arguments],
        cwd=ROOT,
        env={**os.environ, "BAKEHOUSE_STATE": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_each_program_is_told_in_its_own_language(served: Path) -> None:
    found = site.settings(manifest.read(served), "http://10.0.0.5:8080")
    assert found["bakehouse_mirrors"] == {
        "https://": "http://10.0.0.5:8080/https/",
        "http://": "http://10.0.0.5:8080/http/",
    }
    source = "deb http://10.0.0.5:8080/http/mirror.example/debian/ bookworm main"
    assert found["sources.list"] == [source]
    assert 'Acquire::http::Proxy "http://10.0.0.5:8080";' in found["apt.conf"]
    assert "index-url = http://10.0.0.5:8080/simple/" in found["pip.conf"]
    text = site.text(manifest.read(served), "http://10.0.0.5:8080")
    assert all(line in text for line in (source, found["apt.conf"], found["pip.conf"]))


def test_it_serves_until_it_is_ended(served: Path, tmp_path: Path) -> None:
    process = run(tmp_path / "state", "serve", str(served), "--port", "0", "--json")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    told = ""
    for line in lines:
        told += line
        if line == "}\n":
            break
    address = json.loads(told)["bakehouse_mirrors"]["https://"]
    with urllib.request.urlopen(f"{address}vendor.example/key.asc") as answer:
        assert answer.read() == b"the key"
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0, stderr


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (["--address", "192.0.2.1"], 3, "cannot answer there"),
        (["--port", "70000"], 2, "--port"),
    ],
)
def test_where_it_cannot_serve_it_says_so(
    served: Path, tmp_path: Path, options: list[str], status: int, told: str
) -> None:
    process = run(tmp_path / "state", "serve", str(served), *options)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, told in stderr) == (status, True), stderr


def test_an_altered_bundle_is_not_served(served: Path, tmp_path: Path) -> None:
    bundles.flip(served / "https" / "vendor.example" / "key.asc")
    process = run(tmp_path / "state", "serve", str(served), "--settings")
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, "altered" in stderr) == (4, True), stderr
