"""`bakehouse stack bump`: version, addresses and digests of one record, changed together."""

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bakehouse.errors import DownloadError, InputError
from bakehouse.stacks import constraints, download, git_tree, python_index, stack
from bakehouse.stacks.download import Policy
from bakehouse.stacks.editing import Change, TextEditor
from bakehouse.stacks.lock import at, entries
from bakehouse.stacks.openpgp import fingerprints
from bakehouse.stacks.plain_yaml import Keys
from bakehouse.stacks.records import (
    ArchiveRecord,
    ArchivesRecord,
    PythonRecord,
    Record,
    RepositoriesRecord,
    RepositoryRecord,
    Requirement,
    SourceRecord,
    kind_name,
)
from bakehouse.stacks.validation import suggestion

Teller = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to bump.

    Attributes:
        stack: Name of the stack.
        component: The record's key.
        version: The new version.
        urls: New address by architecture (empty for a record with one); else the old address with
            the new version in it.
        digests: SHA-256 by architecture, for files that are not to be fetched.
        allow_broken: Accept a stack that breaks a rule.
        unpin: Remove the record's pin.
    """

    stack: str
    component: str
    version: str
    urls: Mapping[str, str]
    digests: Mapping[str, str]
    allow_broken: bool = False
    unpin: bool = False


def bump(request: Request, *, policy: Policy, tell: Teller = lambda _: None) -> Change:
    """Change one record to another version.

    Args:
        request: What to change.
        policy: How to download what has to be hashed.
        tell: Told what is looked at.

    Returns:
        The changed file; not written yet.

    Raises:
        InputError: There is no such record, the record is pinned, an address does not hold the old
            version, or the new stack breaks a rule.
        DownloadError: The new version cannot be had, or is not what the given digest says.
    """
    editor = TextEditor(stack.stack_path(request.stack))
    before = stack.parse(editor.document)
    if request.component not in before.records:
        raise InputError(
            f"there is no record {request.component} in the stack {request.stack}",
            where=str(editor.path),
            remedy=suggestion(request.component, before.records),
        )
    bumper = _Bumper(editor, before, request, policy, tell)
    bumper.bump()
    change = editor.change(bumper.notes)
    _refuse_new_breaks(change.stack(), request, bumper.notes)
    return change


def parse_by_architecture(option: str, values: Sequence[str]) -> dict[str, str]:
    """Values of an option that may be given once for each architecture: `aarch64=VALUE`.

    Raises:
        InputError: One architecture is given twice.
    """
    result: dict[str, str] = {}
    for value in values:
        name, separator, rest = value.partition("=")
        architecture = name if separator and name in {"x86_64", "aarch64"} else ""
        if architecture in result:
            raise InputError(
                "the option is given twice for one file",
                where=f"{option} {value}",
                remedy=f"one for each architecture: {option} aarch64=…",
            )
        result[architecture] = rest if architecture else value
    return result


def _refuse_new_breaks(after: stack.Stack, request: Request, notes: list[str]) -> None:
    broken = constraints.broken(constraints.check(after))
    if not broken:
        return
    if not request.allow_broken:
        told = constraints.told(after, broken)
        raise InputError(
            f"with {request.component} {request.version} the stack breaks a rule:\n{told}",
            where=after.document.where(broken[0].keys(after)),
            remedy="; ".join(found.satisfying for found in broken) + "; or insist by "
            "--allow-broken, and bump the others next",
        )
    text = "; ".join(f"{found.rule.id}: {found.message}" for found in broken)
    notes.append(f"WARNING: the stack now breaks {text}")


class _Bumper:
    def __init__(
        self,
        editor: TextEditor,
        before: stack.Stack,
        request: Request,
        policy: Policy,
        tell: Teller,
    ) -> None:
        self.editor = editor
        self.before = before
        self.request = request
        self.policy = policy
        self.tell = tell
        self.notes: list[str] = []
        self.record: Record = before.records[request.component]

    def bump(self) -> None:
        self.judge_pin()
        self.refuse_useless_options()
        match self.record:
            case ArchiveRecord() | ArchivesRecord():
                for keys in entries(self.request.component, self.record):
                    self.archive(keys)
            case SourceRecord():
                self.source((self.request.component,))
            case RepositoryRecord() | RepositoriesRecord():
                for keys in entries(self.request.component, self.record):
                    self.repository(keys)
            case PythonRecord():
                self.python(self.record)
            case _:
                pass
        if self.request.version != self.record.version:
            self.editor.set((self.request.component, "version"), self.request.version)

    def judge_pin(self) -> None:
        pin, keys = self.record.pin, (self.request.component, "pin")
        if pin is None:
            return
        if not self.request.unpin:
            due = "; its review is due" if pin.review_by < _today() else ""
            raise InputError(
                f"the record is pinned until {pin.review_by}: {pin.reason} ({pin.link}){due}",
                where=self.editor.document.where(keys),
                remedy="if the reason is gone, give --unpin",
            )
        self.editor.remove(keys)
        self.notes.append(f"removed the pin: {pin.reason}")

    def refuse_useless_options(self) -> None:
        given = {"--url": self.request.urls, "--sha256": self.request.digests}
        archive = isinstance(self.record, ArchiveRecord | ArchivesRecord)
        known = {str(keys[-1]) for keys in entries(self.request.component, self.record)}
        if isinstance(self.record, ArchiveRecord):
            known = {""}
        for architecture, digest in self.request.digests.items():
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise InputError(
                    "a sha256 has 64 lower-case hexadecimal digits",
                    where=f"--sha256 {architecture and architecture + '='}{digest}",
                    remedy="copy it from the vendor's page, or leave it out to have it computed",
                )
        for option, values in given.items():
            if values and not archive:
                raise InputError(
                    f"{option} is of no use: this is a record of kind {kind_name(self.record)}",
                    where=self.editor.document.where((self.request.component,)),
                    remedy="leave the option out",
                )
            for architecture in values:
                if architecture not in known:
                    told = ", ".join(f"{option} {name}=…" for name in sorted(known) if name)
                    raise InputError(
                        "the record has a file for each architecture"
                        if not architecture
                        else f"the record has no file for {architecture}",
                        where=f"{option} {values[architecture]}",
                        remedy=f"give {told or f'{option} without an architecture'}",
                    )

    def archive(self, keys: Keys) -> None:
        entry = at(self.editor.data, keys)
        architecture = str(keys[-1]) if len(keys) > 1 else ""
        url = self.request.urls.get(architecture) or self.moved((*keys, "url"), entry["url"])
        digest = self.request.digests.get(architecture)
        if digest is None:
            self.tell(url)
            digest = download.measure(url, self.policy)
            if self.request.version == self.record.version and digest != entry["sha256"]:
                where = f"{self.editor.document.where((*keys, 'sha256'))} ({url})"
                raise download.mismatch(where, expected=entry["sha256"], found=digest)
            self.notes.append(f"fetched {url}: sha256 {digest}")
        else:
            self.notes.append(f"not fetched, since the digest was given: {url}")
        self.change(keys, entry, "url", url)
        self.change(keys, entry, "sha256", digest)

    def source(self, keys: Keys) -> None:
        entry = at(self.editor.data, keys)
        url = self.moved((*keys, "url"), entry["url"])
        self.tell(url)
        found = download.measure(url, self.policy, git_tree.of)
        if self.request.version == self.record.version and found != entry["git_tree"]:
            where = f"{self.editor.document.where((*keys, 'git_tree'))} ({url})"
            raise download.mismatch(where, kind="content", expected=entry["git_tree"], found=found)
        self.notes.append(f"fetched {url}: git tree {found}")
        self.change(keys, entry, "url", url)
        self.change(keys, entry, "git_tree", found)

    def moved(self, keys: Keys, url: str) -> str:
        """The address with the new version in it.

        Raises:
            InputError: The old version is not in it.
        """
        old, new = self.record.version, self.request.version
        if old == new:
            return url
        moved = _with_version(url, old, new)
        if moved == url:
            raise InputError(
                f"the address does not hold the version {old}, so the new one cannot be guessed",
                where=self.editor.document.where(keys),
                remedy="give the new address: --url U, or --url aarch64=U for each architecture",
            )
        return moved

    def repository(self, keys: Keys) -> None:
        """The key must stay the same wherever it lies; a vendor's new key is an edit by hand."""
        entry, old, new = at(self.editor.data, keys), self.record.version, self.request.version
        for name in ("repository", "key_url"):
            self.change(keys, entry, name, _with_version(entry[name], old, new))
        key_url = _with_version(entry["key_url"], old, new)
        if key_url == entry["key_url"]:
            return
        self.tell(key_url)
        key = download.content(key_url, self.policy)
        found, expected = download.digest_of(key), entry.get("key_sha256", "")
        if "key_fingerprint" in entry:
            found, expected = " and ".join(fingerprints(key)), entry["key_fingerprint"].upper()
        if found != expected:
            raise download.mismatch(key_url, kind="key", expected=expected, found=found)
        self.notes.append(f"the key at {key_url} is the known one")

    def python(self, record: PythonRecord) -> None:
        name = record.requirements[0].name
        self.tell(f"{name} {self.request.version}: what goes with it")
        wheels = self.closure(record, name)
        pins = {wheel.name: wheel.version for wheel in wheels}
        self.tell(f"{name} {self.request.version}: wheels of {len(pins)} distributions")
        found = python_index.published(pins, record.index)
        self.editor.set_requirements(
            self.request.component,
            [
                Requirement(
                    name=name, version=version, sha256=sorted(wheel.sha256 for wheel in found[name])
                )
                for name, version in pins.items()
            ],
        )

    def closure(self, record: PythonRecord, name: str) -> list[python_index.Wheel]:
        """What the new version needs: as little changed as possible, other records not at all."""
        wanted = f"{name}=={self.request.version}"
        component = self.request.component
        others = {n: v for c, _, n, v in self.before.python_pins() if c != component and n != name}
        present = {r.name: r.version for r in record.requirements[1:]}
        try:
            return python_index.resolve(
                wanted, index=record.index, constraints={**present, **others}
            )
        except DownloadError:
            wheels = python_index.resolve(wanted, index=record.index, constraints=others)
        changed = [w for w in wheels[1:] if present.get(w.name) not in {None, w.version}]
        self.notes += [f"{w.name} {present[w.name]} → {w.version}, too" for w in changed]
        return wheels

    def change(self, keys: Keys, entry: Mapping[str, str], name: str, value: str) -> None:
        if entry[name] != value:
            self.editor.set((*keys, name), value)


def _with_version(url: str, old: str, new: str) -> str:
    """The address with one version for another; 2.1 is not a part of 12.1 or 2.1.3."""
    return re.sub(rf"(?<!\d)(?<!\d\.){re.escape(old)}(?!\d|\.\d)", lambda _: new, url)


def _today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.UTC).date()
