"""Archives and keys of a stack's records: each is verified before it is stored."""

import os
import platform
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bakehouse.errors import InputError
from bakehouse.mirror.server import place_of
from bakehouse.stacks import download, git_tree, records
from bakehouse.stacks.download import Policy
from bakehouse.stacks.openpgp import fingerprints, is_signature
from bakehouse.stacks.records import (
    ArchiveRecord,
    ArchivesRecord,
    RepositoriesRecord,
    RepositoryRecord,
    Signature,
    SourceRecord,
)
from bakehouse.stacks.stack import Stack, source_of_case
from bakehouse.stacks.validation import suggestion

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that a record names.

    Attributes:
        component: The record.
        url: Its address.
        sha256: Its digest, if the record has it.
        fingerprint: Of the only key in it, if the record has it.
        git_tree: git's hash of what is in it, if it is a source.
        is_signature: It is another file's signature, which roles check when they use that file.
    """

    component: str
    url: str
    sha256: str | None = None
    fingerprint: str | None = None
    is_signature: bool = False
    git_tree: str | None = None

    @property
    def place(self) -> str:
        """Where it lies in a bundle."""
        return place_of(self.url)


def this_machine() -> str:
    """This machine's platform, as records name it: debian12-x86_64."""
    release = platform.freedesktop_os_release()
    name = {"amzn": "amazon"}.get(release["ID"], release["ID"])
    return f"{name}{release.get('VERSION_ID', '')}-{os.uname().machine}"


def chosen_platforms(stack: Stack, given: Iterable[str]) -> tuple[str, ...]:
    """The platforms whose archives and keys are wanted.

    Raises:
        InputError: No record of the stack speaks of one that was given.
    """
    known = {this_machine(), *_platforms(stack)}
    wanted = tuple(dict.fromkeys(given)) or (this_machine(),)
    if ALL in wanted:
        return tuple(sorted(known))
    for name in wanted:
        if name not in known:
            raise InputError(
                f"no record of {stack.name} speaks of the platform {name}",
                where=f"--platform {name}",
                remedy=suggestion(name, {ALL, *known}),
            )
    return wanted


def wanted(stack: Stack, platforms: Collection[str]) -> tuple[list[Artifact], list[str]]:
    """Archives and keys of a stack for some platforms, and what it does not have for them."""
    found: dict[Artifact, None] = {}
    left_out = []
    machines = {name.rpartition("-")[2] for name in platforms}
    for component, record in stack.records.items():
        if isinstance(record, ArchiveRecord | ArchivesRecord):
            matching = [
                each
                for name, artefact in record.artifacts().items()
                if not name or name in machines
                for each in _with_signature(component, artefact, record.signature)
            ]
        elif isinstance(record, RepositoryRecord | RepositoriesRecord):
            matching = [
                Artifact(
                    component=component,
                    url=repository.key_url,
                    sha256=repository.key_sha256,
                    fingerprint=repository.key_fingerprint,
                )
                for name, repository in record.repositories().items()
                if not name or name in platforms
            ]
        else:
            continue
        found |= dict.fromkeys(matching)
        if not matching:
            left_out.append(f"{component}: nothing for {', '.join(platforms)}")
    return list(found), left_out


def sources(stack: Stack, cases: Iterable[str]) -> list[Artifact]:
    """The sources that test cases are built with: only of those that are wanted."""
    records = {name: stack.records.get(name) for name in map(source_of_case, cases)}
    return [
        Artifact(component=name, url=record.url, git_tree=record.git_tree)
        for name, record in records.items()
        if isinstance(record, SourceRecord)
    ]


def fetch(artifact: Artifact, folder: Path, policy: Policy) -> bool:
    """Bring an artefact into a bundle, verified; says whether it had to be fetched.

    Raises:
        DownloadError: It cannot be had, or is not what its record promises.
    """
    path = folder / artifact.place
    if artifact.git_tree is not None:
        return _fetch_source(artifact.url, artifact.git_tree, path, policy)
    if path.is_file() and _is_promised(artifact, path.read_bytes()):
        return False
    if artifact.fingerprint is None and artifact.sha256 is not None:
        download.fetch(artifact.url, path, sha256=artifact.sha256, policy=policy)
        return True
    content = download.content(artifact.url, policy)
    if artifact.sha256 is not None and download.digest_of(content) != artifact.sha256:
        found = download.digest_of(content)
        raise download.mismatch(artifact.url, expected=artifact.sha256, found=found)
    if artifact.is_signature and not is_signature(content):
        raise download.mismatch(
            artifact.url, kind="content", expected="an OpenPGP signature", found="something else"
        )
    present = fingerprints(content)
    if artifact.fingerprint is not None and present != [artifact.fingerprint.upper()]:
        raise download.mismatch(
            artifact.url,
            kind="key",
            expected=artifact.fingerprint.upper(),
            found=" and ".join(present) or "no key",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
    return True


def _with_signature(
    component: str, artefact: records.Artifact, signature: Signature | None
) -> Iterator[Artifact]:
    yield Artifact(component=component, url=artefact.url, sha256=artefact.sha256)
    if signature is not None:
        url = f"{artefact.url}{signature.suffix}"
        yield Artifact(component=component, url=url, is_signature=True)


def _fetch_source(url: str, tree: str, path: Path, policy: Policy) -> bool:
    present = path.is_file() and git_tree.of(path) == tree
    download.fetch_measured(
        url, path, promised=tree, measured=git_tree.of, policy=policy, kind="git tree"
    )
    return not present


def _is_promised(artifact: Artifact, content: bytes) -> bool:
    if artifact.is_signature:
        return is_signature(content)
    same = artifact.sha256 is None or download.digest_of(content) == artifact.sha256
    key = artifact.fingerprint
    return same and (key is None or fingerprints(content) == [key.upper()])


def _platforms(stack: Stack) -> set[str]:
    return {
        name
        for record in stack.records.values()
        if isinstance(record, RepositoriesRecord)
        for name in record.by_platform
    }
