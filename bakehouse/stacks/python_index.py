"""Wheels and their digests, asked of the indexes in this machine's own pip configuration."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from bakehouse import scratch
from bakehouse.builder.wheelhouse import Interpreter
from bakehouse.errors import DownloadError
from bakehouse.process import run

GLIBC = 36
INTERPRETERS = ("3.10", "3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
PRIMARY = Interpreter(version="3.11", glibc=GLIBC, machine=os.uname().machine)
"""The interpreter whose wheels must exist; those of the others are recorded where they do."""

OTHERS = tuple(
    Interpreter(version=version, glibc=GLIBC, machine=machine)
    for version in INTERPRETERS
    for machine in MACHINES
    if (version, machine) != (PRIMARY.version, PRIMARY.machine)
)


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One file of an index.

    Attributes:
        name: Normalised name of the distribution.
        version: Its version.
        filename: The file's name.
        sha256: Digest that the index publishes, or of the file where it is a local one.
    """

    name: str
    version: str
    filename: str
    sha256: str

    @property
    def fits_all(self) -> bool:
        """The same file serves every interpreter and machine."""
        return self.filename.endswith("-none-any.whl")


def resolve(
    requirement: str, *, index: str | None = None, constraints: Mapping[str, str] | None = None
) -> list[Wheel]:
    """The complete closure of a requirement for the primary interpreter, itself first.

    Args:
        requirement: Such as "torch==2.13.0".
        index: An index that is asked too where the machine's own do not have everything.
        constraints: Versions that other distributions must have if they are needed.

    Raises:
        DownloadError: There is no such version, or no set of versions goes together.
    """
    with scratch.folder("pip") as folder:
        pins = folder / "constraints.txt"
        pins.write_text("".join(f"{n}=={v}\n" for n, v in (constraints or {}).items()))
        wheels, _ = _primary([requirement, "--constraint", str(pins)], index)
    name = canonicalize_name(requirement.split("==", maxsplit=1)[0])
    return sorted(wheels, key=lambda wheel: (wheel.name != name, wheel.name))


def published(pins: Mapping[str, str], index: str | None = None) -> dict[str, list[Wheel]]:
    """Wheels of each pinned distribution, by name; that of the primary interpreter first.

    Raises:
        DownloadError: The primary interpreter cannot have one of them.
    """
    requirements = [f"{name}=={version}" for name, version in pins.items()]
    first, index = _primary(["--no-deps", *requirements], index)
    found = {wheel.name: [wheel] for wheel in first}
    special = [f"{w.name}=={w.version}" for w in first if not w.fits_all]
    if special:
        with ThreadPoolExecutor(max_workers=4) as pool:
            for wheels in pool.map(
                lambda python: _those_that_exist(special, python, index), OTHERS
            ):
                for wheel in wheels:
                    if wheel not in found[wheel.name]:
                        found[wheel.name].append(wheel)
    return found


def _primary(arguments: list[str], index: str | None) -> tuple[list[Wheel], str | None]:
    """Wheels for the primary interpreter, and the extra index if they could not be had without."""
    try:
        return _asked(arguments, PRIMARY, None), None
    except DownloadError:
        if index is None:
            raise
    return _asked(arguments, PRIMARY, index), index


def _those_that_exist(
    requirements: list[str], python: Interpreter, index: str | None
) -> Iterable[Wheel]:
    """Wheels for one interpreter; one that is missing does not keep the others away."""
    with suppress(DownloadError):
        return _asked(["--no-deps", *requirements], python, index)
    wheels = []
    for requirement in requirements if len(requirements) > 1 else []:
        with suppress(DownloadError):
            wheels += _asked(["--no-deps", requirement], python, index)
    return wheels


def _asked(arguments: list[str], python: Interpreter, index: str | None) -> list[Wheel]:
    remedy = "see pip's message; `pip config list` shows which indexes this machine asks"
    with scratch.folder("pip") as folder:
        report = folder / "report.json"
        command = [
            sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-qq",
            "--only-binary=:all:", "--report", str(report), *python.pip_options(), *arguments,
        ]  # fmt: skip
        extra = ["--retries", "1", "--extra-index-url", index] if index else []
        run([*command, *extra], failure=DownloadError, remedy=remedy, quiet=True)
        items = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [_wheel(item) for item in items]


def _wheel(item: Mapping[str, Any]) -> Wheel:
    source = item["download_info"]
    hashes = source.get("archive_info", {}).get("hashes", {})
    name, version = canonicalize_name(item["metadata"]["name"]), item["metadata"]["version"]
    if "sha256" not in hashes:
        raise DownloadError(
            f"the index has no sha256 for {name} {version}",
            where=source["url"],
            remedy="use an index that publishes digests",
        )
    filename = source["url"].rsplit("/", maxsplit=1)[-1]
    return Wheel(name=name, version=version, filename=filename, sha256=hashes["sha256"])
