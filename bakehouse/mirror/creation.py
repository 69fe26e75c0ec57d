"""`bakehouse mirror create`: a bundle of all that a stack's images fetch, whole or not at all."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bakehouse import layout
from bakehouse.builder import plan, wheelhouse
from bakehouse.builder.context import link
from bakehouse.builder.host_configuration import apt_proxy_addresses
from bakehouse.builder.inputs import stack_of
from bakehouse.builder.locks import only_one
from bakehouse.builder.wheelhouse import Interpreter
from bakehouse.console import progress
from bakehouse.errors import DownloadError, InputError
from bakehouse.images import Image, get_image, lineage, load_images, playbook_roles
from bakehouse.mirror import apt_indexes, artifacts, record_builds, verification, wheels
from bakehouse.mirror.manifest import File, Manifest, read
from bakehouse.mirror.recorder import Recording
from bakehouse.mirror.server import MANIFEST
from bakehouse.playbooks import load_playbook
from bakehouse.stacks import download
from bakehouse.stacks.download import Policy
from bakehouse.stacks.records import PythonRecord
from bakehouse.stacks.stack import Stack, case_records, load_stack, wheels_of_case

_HEAD = re.compile(r"https?://[^/\s\"]+")
PIP = "pip download, by digest"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a bundle is to hold.

    Attributes:
        stack: Its records.
        images: Whose builds are recorded, with all they stand on, the lowest first.
        platforms: Of archives and keys.
        refresh: Take the distribution's present state instead of the one in the bundle.
    """

    stack: Stack
    images: tuple[Image, ...]
    platforms: tuple[str, ...]
    refresh: bool = False

    @property
    def bases(self) -> list[Image]:
        """Root file systems that are bootstrapped."""
        return [image for image in self.images if image.kind == "rootfs" and not image.parent]

    @property
    def inputs(self) -> str:
        """Digest of all that decides what is fetched, but for the distribution's state."""
        roles = {
            name: plan.digests(plan.tree(layout.ROLES / name))
            for image in self.images
            if image.playbook
            for role in playbook_roles(image.playbook)
            for name in plan.with_included(role)
        }
        playbooks = {
            image.playbook: load_playbook(image.playbook).variables
            for image in self.images
            if image.playbook
        }
        cases = [plan.tree(layout.CONTAINERS / i.case) for i in self.images if i.case]
        decisive = [
            self.stack.digest,
            [image.model_dump(mode="json") for image in self.images],
            sorted(self.platforms),
            roles,
            playbooks,
            [plan.digests(files) for files in cases],
            wheelhouse.controller_lines(),
        ]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Created:
    """A bundle, and the paths in it that had to be fetched."""

    folder: Path
    manifest: Manifest
    fetched: tuple[str, ...]


def request(
    stack: str, images: Iterable[str], platforms: Iterable[str], *, refresh: bool = False
) -> Request:
    """Look up what a bundle is to hold.

    Args:
        stack: Name of a stack.
        images: Names from images.yml; those of this stack by default.
        platforms: As records name them; this machine's by default.
        refresh: Take the distribution's present state.

    Raises:
        InputError: There is no such stack, image or platform.
    """
    loaded = load_stack(stack)
    names = list(images) or [
        image.name
        for image in load_images().values()
        if image.kind != "rootfs" and stack_of(image).name == stack
    ]
    chain = {i.name: i for name in names for i in lineage(get_image(name).name)}
    order = ("rootfs", "container", "machine", "case")
    ordered = sorted(chain.values(), key=lambda image: order.index(image.kind))
    return Request(
        stack=loaded,
        images=tuple(ordered),
        platforms=artifacts.chosen_platforms(loaded, platforms),
        refresh=refresh,
    )


def create(wanted: Request, folder: Path, policy: Policy) -> Created:
    """Make a bundle, or bring one up to date. It gets its name when it is whole.

    Raises:
        DownloadError: Something cannot be had, or is not what its record promises.
        BuildError: An image cannot be built.
        InputError: The folder is something else.
    """
    with only_one(f"mirror-{wanted.stack.name}", "the making of a bundle"):
        present = _present(folder)
        if present and present.inputs == wanted.inputs and not wanted.refresh:
            broken = verification.findings(folder, present)
            if not broken:
                return Created(folder=folder, manifest=present, fetched=())
        part = folder.with_name(f"{folder.name}.part")
        part.mkdir(parents=True, exist_ok=True)
        _seed(part, folder, present, refresh=wanted.refresh)
        created = _filled(part, wanted, policy)
        _exchange(part, folder)
        return Created(folder=folder, manifest=created.manifest, fetched=created.fetched)


def _present(folder: Path) -> Manifest | None:
    if not folder.exists() or not any(folder.iterdir()):
        return None
    if not (folder / MANIFEST).is_file():
        raise InputError(
            "the folder is there and is no bundle",
            where=str(folder),
            remedy="name another with --output, or remove it",
        )
    return read(folder)


def _seed(part: Path, folder: Path, present: Manifest | None, *, refresh: bool) -> None:
    """Begin with what is there already and is whole; a refreshed one without lists."""
    for path in part.rglob(".*.part"):
        path.unlink()
    for file in present.files if present else ():
        source, target = folder / file.path, part / file.path
        if target.exists() or not source.is_file() or download.digest(source) != file.sha256:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        link(source, target)
    if refresh:
        for path in [*part.rglob("dists"), *part.rglob("InRelease"), *part.rglob("Packages*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _filled(part: Path, wanted: Request, policy: Policy) -> Created:
    before = set(verification.paths(part))
    kept: dict[str, set[str]] = {}
    origins: dict[str, str] = {}
    found, left_out = artifacts.wanted(wanted.stack, wanted.platforms)
    found += artifacts.sources(wanted.stack, [image.case for image in wanted.images if image.case])
    for artifact in found:
        progress.print(f"  {artifact.url}", markup=False)
        artifacts.fetch(artifact, part, policy)
        kept.setdefault(artifact.place, set()).add(artifact.component)
        origins[artifact.place] = artifact.url
    draft = Manifest(
        stack=wanted.stack.name,
        inputs=wanted.inputs,
        images=tuple(image.name for image in wanted.images),
        platforms=wanted.platforms,
        sources={image.name: record_builds.sources(image) for image in wanted.bases},
        left_out=tuple(left_out),
        complete=False,
    )
    draft.write(part)
    recording = Recording(
        root=part,
        origins_allowed=_origins(draft, wanted.stack),
        policy=policy,
        proxies=apt_proxy_addresses(),
    )
    of_wheels = _recorded(part, wanted, recording, verified=set(kept))
    for more in (of_wheels, recording.wanted):
        for place, owners in more.items():
            kept.setdefault(place, set()).update(owners)
    origins = {**dict.fromkeys(of_wheels, PIP), **recording.origins, **origins}
    _prune(part, kept)
    files = [_file(part, place, origins[place], kept[place]) for place in sorted(kept)]
    manifest = draft.with_files(files, absent=recording.absent)
    manifest.write(part)
    return Created(folder=part, manifest=manifest, fetched=tuple(sorted(set(kept) - before)))


def _origins(draft: Manifest, stack: Stack) -> frozenset[str]:
    """Heads of all addresses in apt's sources and in the stack."""
    sources = [line for lines in draft.sources.values() for line in lines]
    text = "\n".join([*sources, json.dumps(stack.variables)])
    return frozenset(f"{head}/" for head in _HEAD.findall(text))


def _cases_of(wanted: Request) -> list[str]:
    """Records of the test cases among the images."""
    names = [wheels_of_case(image.case) for image in wanted.images if image.case]
    return [name for name in dict.fromkeys(names) if name in wanted.stack.records]


def _recorded(
    part: Path, wanted: Request, recording: Recording, verified: set[str]
) -> dict[str, set[str]]:
    """Record the builds of all images; returns the places of the wheels that they need."""
    if not wanted.images:
        records = wanted.stack.records
        cases = [n for n in case_records() if isinstance(records.get(n), PythonRecord)]
        return wheels.add(part, wanted.stack, [_usual_interpreter(wanted.stack)], cases)
    try:
        with record_builds.recorded(recording) as builds:
            for image in wanted.bases:
                builds.build(image, wanted.stack.name)
            pythons = dict.fromkeys(builds.interpreter(image) for image in wanted.bases)
            if any(image.kind == "machine" for image in wanted.images):
                pythons[wheelhouse.usual()] = None
            progress.print("[bold]wheels[/bold]")
            places = wheels.add(part, wanted.stack, pythons, _cases_of(wanted))
            for image in wanted.images:
                if image not in wanted.bases:
                    builds.build(image, wanted.stack.name)
    finally:
        # Not for the next attempt, nor for a bundle: what is not what a list promises.
        wrong = apt_indexes.wrong(part, verified) | apt_indexes.expired(part, recording.fetched)
        for place in wrong:
            (part / place).unlink(missing_ok=True)
    needed = {place: why for place, why in wrong.items() if place in recording.wanted}
    if needed:
        told = "\n".join(f"  {place}: {why}" for place, why in needed.items())
        raise DownloadError(
            f"the distribution's mirror gave something else than its lists promise:\n{told}",
            where=str(part),
            remedy="create again; with --refresh if the mirror has moved on since the last time",
        )
    return places


def _usual_interpreter(stack: Stack) -> Interpreter:
    """Where no image says which Python there is, the stack does."""
    python = stack.versions.get("python_release", wheelhouse.usual().version)
    usual = wheelhouse.usual()
    return Interpreter(version=python, glibc=usual.glibc, machine=usual.machine)


def _prune(part: Path, kept: Mapping[str, object]) -> None:
    """Remove what nobody asked for this time."""
    for place in list(verification.paths(part)):
        if place not in kept and place != MANIFEST:
            (part / place).unlink()
    for folder in sorted((p for p in part.rglob("*") if p.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def _file(part: Path, place: str, origin: str, owners: set[str]) -> File:
    path = part / place
    path.chmod(0o644)
    return File(
        path=place,
        size=path.stat().st_size,
        sha256=download.digest(path),
        origin=origin,
        wanted_by=tuple(sorted(owners)),
    )


def _exchange(part: Path, folder: Path) -> None:
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
