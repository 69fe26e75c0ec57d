"""Wheels for images, fetched once by the host's own pip configuration, every one by its digest."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement as PackageRequirement
from packaging.utils import canonicalize_name, canonicalize_version, parse_wheel_filename

from bakehouse import layout
from bakehouse.builder.children import bound
from bakehouse.builder.locks import only_one
from bakehouse.builder.supply import Supply
from bakehouse.console import progress
from bakehouse.errors import DownloadError
from bakehouse.process import run
from bakehouse.stacks.records import PythonRecord, Requirement
from bakehouse.stacks.stack import Stack

CONTROLLER = ("ansible-core", "mitogen", "pip")
NOT_NEEDED = {"cryptography", "cffi", "pycparser", "resolvelib"}  # for vaults and Galaxy
REQUIREMENTS = "requirements.txt"


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """The Python of an image: what its wheels must fit.

    Attributes:
        version: "3.11".
        glibc: Minor version of the C library: 36 for glibc 2.36.
        machine: "x86_64" or "aarch64".
    """

    version: str
    glibc: int
    machine: str

    def __str__(self) -> str:
        return f"{self.version}-glibc{self.glibc}-{self.machine}"

    def pip_options(self) -> list[str]:
        """pip's options that select wheels for this interpreter."""
        digits = self.version.replace(".", "")
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, 4, -1)]
        options = ["--python-version", self.version, "--implementation", "cp"]
        for abi in (f"cp{digits}", "abi3", "none"):
            options += ["--abi", abi]
        for platform in (*platforms, f"manylinux2014_{self.machine}", f"linux_{self.machine}"):
            options += ["--platform", platform]
        return options


def usual() -> Interpreter:
    """Debian 12's Python, on this machine's architecture."""
    return Interpreter(version="3.11", glibc=36, machine=os.uname().machine)


def prepare(
    stack: Stack,
    interpreter: Interpreter | None = None,
    supply: Supply | None = None,
    *,
    case_record: str | None = None,
) -> Path:
    """Folder of verified wheels of a stack's Python records; later calls cost nothing.

    Args:
        stack: Its records name the wheels and their digests.
        interpreter: The image's Python; Debian 12's on this machine's architecture by default.
        supply: Where to fetch them, instead of the host's indexes.
        case_record: The record of a test case, whose wheels alone are wanted. Without it they are
            those of all records that roles take, and of no test case.

    Raises:
        DownloadError: A wheel cannot be had, or is not what its record promises.
    """
    python = interpreter or usual()
    names = [case_record] if case_record else stack.role_records
    named = {name: stack.records[name] for name in names}
    records = [record for record in named.values() if isinstance(record, PythonRecord)]
    _refuse_unlocked(stack, names)
    requirements = {(r.name, r.version): r for record in records for r in record.requirements}
    indexes = tuple(record.index for record in records if record.index)
    other = "" if python == usual() else f"-{python}"
    part = f"-{case_record.removesuffix('_release')}" if case_record else ""
    folder = layout.STATE / "wheelhouse" / f"{stack.name}{part}{other}"
    _fill(folder, requirement_lines(requirements.values()), python, indexes, supply)
    return folder


def _refuse_unlocked(stack: Stack, names: Iterable[str]) -> None:
    """No wheel is used of which nobody has written down what it must be."""
    for component in names:
        record = stack.records[component]
        if isinstance(record, PythonRecord) and record.without_digests:
            raise DownloadError(
                f"there are no digests of {', '.join(record.without_digests)}",
                where=stack.document.where((component, "requirements")),
                remedy=f"run `bakehouse stack lock {stack.name}` where the index can be reached",
            )


def prepare_controller(interpreter: Interpreter, supply: Supply | None = None) -> Path:
    """Folder of verified wheels of Ansible for an image's Python, with their requirements.txt.

    Raises:
        DownloadError: A wheel cannot be had.
    """
    folder = layout.STATE / "wheelhouse" / f"controller-{interpreter}"
    _fill(folder, controller_lines(), interpreter, (), supply)
    return folder


def controller_lines() -> list[str]:
    """The hashed requirements of Ansible and what it needs, from our own lock."""
    names = _closure(CONTROLLER) - NOT_NEEDED
    lock = (layout.ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    return [block for block in _blocks(lock) if _name(block) in names]


def requirement_lines(requirements: Iterable[Requirement]) -> list[str]:
    """Lines of a requirements file with digests."""
    return [
        f"{r.name}=={r.version} " + " ".join(f"--hash=sha256:{digest}" for digest in r.sha256)
        for r in requirements
    ]


def wheels_of(folder: Path, requirements: Iterable[Requirement]) -> list[Path]:
    """The wheels of a folder that the requirements ask for."""
    wanted = {(canonicalize_name(r.name), canonicalize_version(r.version)) for r in requirements}
    wheels = [(parse_wheel_filename(path.name), path) for path in sorted(folder.glob("*.whl"))]
    return [
        path
        for (name, version, *_), path in wheels
        if (name, canonicalize_version(version)) in wanted
    ]


def _fill(
    folder: Path,
    lines: list[str],
    interpreter: Interpreter,
    indexes: tuple[str, ...],
    supply: Supply | None,
) -> None:
    stamp = folder / ".complete"
    content = json.dumps([lines, interpreter.pip_options()])
    digest = hashlib.sha256(content.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return
    with only_one(f"wheelhouse-{folder.name}", "a download of the same wheels"):
        if stamp.is_file() and stamp.read_text() == digest:
            return
        partial = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            present = [folder] if folder.is_dir() else []
            with progress.status(f"fetching {len(lines)} wheels"):
                for batch in _batches(lines):
                    _download(partial, batch, interpreter, indexes, present, supply)
            (partial / REQUIREMENTS).write_text("\n".join(lines) + "\n", encoding="utf-8")
            (partial / ".complete").write_text(digest)
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _batches(lines: Iterable[str]) -> list[list[str]]:
    """Lines that one pip can be given together: no distribution in two versions."""
    batches: list[dict[str, str]] = []
    for line in lines:
        free = next((batch for batch in batches if _name(line) not in batch), None)
        if free is None:
            batches.append(free := {})
        free[_name(line)] = line
    return [list(batch.values()) for batch in batches]


def _download(
    folder: Path,
    lines: list[str],
    interpreter: Interpreter,
    indexes: tuple[str, ...],
    present: list[Path],
    supply: Supply | None,
) -> None:
    requirements = folder / REQUIREMENTS
    requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [
        *bound([sys.executable, "-m", "pip", "download"]),
        "--quiet", "--no-deps", "--require-hashes",
        "--only-binary=:all:", "--dest", str(folder), "--requirement", str(requirements),
        *interpreter.pip_options(),
        *[part for old in present for part in ("--find-links", str(old))],
    ]  # fmt: skip
    if supply is not None:
        options, environment = supply.pip_options()
        remedy = "see pip's message; `bakehouse mirror check` says whether the bundle is whole"
        run([*command, *options], failure=DownloadError, remedy=remedy, env=environment, quiet=True)
        return
    remedy = "see pip's message; `bakehouse stack lock --dry-run` compares digests with the index"
    try:
        run(command, failure=DownloadError, remedy=remedy, quiet=True)
    except DownloadError as error:
        if not indexes or "DO NOT MATCH" in error.what:
            raise
        # The host's own configuration does not have them all: ask the vendors' indexes too.
        extra = [part for index in indexes for part in ("--extra-index-url", index)]
        run([*command, "--retries", "2", *extra], failure=DownloadError, remedy=remedy, quiet=True)


def _closure(names: Iterable[str]) -> set[str]:
    """Names of distributions and of all that they need, as installed beside us."""
    found: set[str] = set()
    todo = [canonicalize_name(name) for name in names]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or []:
            requirement = PackageRequirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(canonicalize_name(requirement.name))
    return found


def _blocks(lock: str) -> list[str]:
    lines = [
        line for line in lock.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [" ".join(line.split()) for line in joined.splitlines()]


def _name(line: str) -> str:
    return canonicalize_name(line.split("==", maxsplit=1)[0])
