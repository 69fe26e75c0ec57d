"""Debian packages and signed apt repositories."""

import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from vendor_mirror.offer import Files, Package
from vendor_mirror.signing import Key

REVISION = "1+fixture"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def build(package: Package, folder: Path) -> None:
    """Make a .deb in a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        write_tree(package.files, root)
        control = root / "DEBIAN"
        control.mkdir(parents=True)
        (control / "control").write_text(_control(package), encoding="utf-8")
        scripts = {
            "postinst": package.after,
            "prerm": package.before_removal,
            "postrm": package.after_removal,
        }
        for name, commands in scripts.items():
            if commands:
                (control / name).write_text(f"#!/bin/sh\nset -e\n{commands}\n", encoding="utf-8")
                (control / name).chmod(0o755)
        file = folder / f"{package.name}_{package.version}-{REVISION}_all.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(file)]
        subprocess.run(command, check=True, capture_output=True)


def content(package: Package) -> bytes:
    """A .deb that is offered by itself, in no repository."""
    with tempfile.TemporaryDirectory() as scratch:
        build(package, Path(scratch))
        (made,) = Path(scratch).iterdir()
        return made.read_bytes()


def repository(
    folder: Path, key: Key, architecture: str, suite: str = "", components: Iterable[str] = ()
) -> None:
    """Index and sign the packages in a folder: flat, or with suites."""
    if not suite:
        (folder / "Packages").write_bytes(_ftparchive(folder, "packages", "."))
        _release(folder, folder, key, [])
        return
    place = folder / "dists" / suite
    for component in components:
        index = place / component / f"binary-{_ARCHITECTURES[architecture]}" / "Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_bytes(_ftparchive(folder, "packages", "."))
    told = {"Components": " ".join(components), "Suite": suite, "Codename": suite}
    _release(folder, place, key, [f"APT::FTPArchive::Release::{n}={v}" for n, v in told.items()])


def write_tree(files: Files, root: Path) -> None:
    """Write files below a root."""
    for name, file in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.link:
            path.symlink_to(file.link)
        else:
            path.write_bytes(file.content)
            path.chmod(file.mode)


def _control(package: Package) -> str:
    epoch = f"{package.epoch}:" if package.epoch else ""
    fields = {
        "Package": package.name,
        "Version": f"{epoch}{package.version}-{REVISION}",
        "Architecture": "all",
        "Maintainer": "nobody",
        "Depends": ", ".join(package.depends),
        "Conflicts": ", ".join(package.conflicts),
        "Provides": ", ".join(package.provides),
        "Description": f"stands in for {package.name}",
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def _release(folder: Path, place: Path, key: Key, options: list[str]) -> None:
    (place / "InRelease").unlink(missing_ok=True)
    (place / "Release").unlink(missing_ok=True)
    settings = [part for option in options for part in ("-o", option)]
    content = _ftparchive(folder, *settings, "release", str(place.relative_to(folder)) or ".")
    (place / "Release").write_bytes(content)
    key.clearsign(place / "Release", place / "InRelease")


def _ftparchive(folder: Path, *arguments: str) -> bytes:
    command = ["apt-ftparchive", *arguments]
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True
    ).stdout
