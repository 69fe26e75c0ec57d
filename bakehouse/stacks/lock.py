"""`bakehouse stack lock`: compare every digest with what can be had now; record missing ones."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from bakehouse.errors import InputError
from bakehouse.stacks import download, git_tree, python_index, stack
from bakehouse.stacks.documents import Document
from bakehouse.stacks.download import Policy
from bakehouse.stacks.editing import Change, TextEditor
from bakehouse.stacks.openpgp import fingerprints
from bakehouse.stacks.plain_yaml import Keys
from bakehouse.stacks.records import (
    ArchiveRecord,
    ArchivesRecord,
    PythonRecord,
    Record,
    RepositoriesRecord,
    RepositoryRecord,
    SourceRecord,
    kind_name,
)
from bakehouse.stacks.validation import suggestion

Teller = Callable[[str], None]
_PLACEHOLDER = "0" * 64
_LEVELS = ("by_architecture", "by_platform")


def lock(
    name: str, components: Iterable[str] = (), *, policy: Policy, tell: Teller = lambda _: None
) -> Change:
    """Fetch what the records of a stack point at, verify digests, and find those not yet written.

    A digest that is written is never replaced: to have it recorded anew, remove its line first.

    Args:
        name: The stack.
        components: Only these; all by default.
        policy: How to download.
        tell: Told what is looked at.

    Returns:
        The file with the missing digests; not written yet.

    Raises:
        InputError: No such stack or record, or the file is wrong beyond missing digests.
        DownloadError: Something cannot be had, or is not what its record promises.
    """
    editor = TextEditor(stack.stack_path(name))
    records = _complete(editor.document)
    wanted = list(components) or list(records)
    for component in wanted:
        if component not in records:
            raise InputError(
                f"there is no record {component} in the stack {name}",
                where=str(editor.path),
                remedy=suggestion(component, records),
            )
    locker = _Locker(editor, policy, tell)
    for component in wanted:
        locker.lock(component, records[component])
    return editor.change(locker.notes)


def entries(component: str, record: Record) -> list[Keys]:
    """Key paths of a record's artefacts or repositories."""
    if isinstance(record, ArchivesRecord):
        return [(component, "by_architecture", name) for name in record.by_architecture]
    if isinstance(record, RepositoriesRecord):
        return [(component, "by_platform", name) for name in record.by_platform]
    return [(component,)]


def at(data: Any, keys: Keys) -> dict[str, Any]:
    """The mapping at a key path."""
    for key in keys:
        data = data[key]
    return cast("dict[str, Any]", data)


def _complete(document: Document) -> dict[str, Record]:
    """The records, with a placeholder where a digest is not yet written."""
    data = {
        key: _with_placeholders(value) if isinstance(value, dict) else value
        for key, value in document.data.items()
    }
    filled = Document(path=document.path, data=data, lines=document.lines)
    return stack.parse(filled).records


def _with_placeholders(value: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(value)
    for level in _LEVELS:
        if isinstance(result.get(level), dict):
            result[level] = {
                key: _with_placeholders(entry) if isinstance(entry, dict) else entry
                for key, entry in result[level].items()
            }
    if isinstance(result.get("requirements"), list):
        result["requirements"] = [
            {"sha256": [_PLACEHOLDER], **item} if isinstance(item, dict) else item
            for item in result["requirements"]
        ]
    if "url" in result and not {"sha256", "git_tree", "requirements"} & set(result):
        result["sha256"] = _PLACEHOLDER
    if "key_url" in result and not {"key_sha256", "key_fingerprint"} & set(result):
        result["key_sha256"] = _PLACEHOLDER
    return result


class _Locker:
    def __init__(self, editor: TextEditor, policy: Policy, tell: Teller) -> None:
        self.editor = editor
        self.policy = policy
        self.tell = tell
        self.notes: list[str] = []
        self.keys: dict[str, bytes] = {}

    def lock(self, component: str, record: Record) -> None:
        match record:
            case ArchiveRecord() | ArchivesRecord():
                for keys in entries(component, record):
                    self.archive(keys)
            case SourceRecord():
                self.source((component,))
            case RepositoryRecord() | RepositoriesRecord():
                for keys in entries(component, record):
                    self.repository(keys)
            case PythonRecord():
                self.python(component, record)
            case _:
                self.note(component, f"{kind_name(record)}: nothing to fetch")

    def archive(self, keys: Keys) -> None:
        entry = at(self.editor.data, keys)
        self.tell(entry["url"])
        found = download.measure(entry["url"], self.policy)
        self.compare((*keys, "sha256"), entry, found, entry["url"], after="url")

    def source(self, keys: Keys) -> None:
        entry = at(self.editor.data, keys)
        self.tell(entry["url"])
        found = download.measure(entry["url"], self.policy, git_tree.of)
        self.compare((*keys, "git_tree"), entry, found, entry["url"], after="url")

    def repository(self, keys: Keys) -> None:
        entry = at(self.editor.data, keys)
        url = entry["key_url"]
        if url not in self.keys:
            self.tell(url)
            self.keys[url] = download.content(url, self.policy)
        key = self.keys[url]
        if "key_fingerprint" in entry:
            present, expected = fingerprints(key), entry["key_fingerprint"].upper()
            if present != [expected]:
                raise download.mismatch(
                    f"{self.where((*keys, 'key_fingerprint'))} ({url})",
                    kind="key",
                    expected=expected,
                    found=" and ".join(present) or "no key",
                )
            self.note(".".join(map(str, keys)), "fingerprint of the key verified")
        if "key_sha256" in entry or "key_fingerprint" not in entry:
            digest = download.digest_of(key)
            self.compare((*keys, "key_sha256"), entry, digest, url, after="key_url")

    def compare(
        self, keys: Keys, entry: Mapping[str, Any], found: str, url: str, *, after: str
    ) -> None:
        expected = entry.get(str(keys[-1]))
        if expected is None:
            self.editor.add(keys, found, after=after)
            self.note(".".join(map(str, keys)), f"recorded {found}")
        elif expected == found:
            self.note(".".join(map(str, keys)), "verified")
        else:
            raise download.mismatch(f"{self.where(keys)} ({url})", expected=expected, found=found)

    def python(self, component: str, record: PythonRecord) -> None:
        self.tell(f"{component}: wheels of {len(record.requirements)} distributions")
        pins = {requirement.name: requirement.version for requirement in record.requirements}
        found = python_index.published(pins, record.index)
        complete = []
        for place, requirement in enumerate(record.requirements):
            digests = [wheel.sha256 for wheel in found[requirement.name]]
            recorded = set(requirement.sha256) - {_PLACEHOLDER}
            if recorded and digests[0] not in recorded:
                raise download.mismatch(
                    self.where((component, "requirements", place, "sha256")),
                    expected=" or ".join(requirement.sha256),
                    found=f"{digests[0]} ({found[requirement.name][0].filename})",
                )
            union = sorted({*recorded, *digests})
            new = len(union) - len(recorded)
            self.note(f"{component}/{requirement.name}", f"recorded {new}" if new else "verified")
            complete.append(
                requirement.model_copy(update={"sha256": union}) if new else requirement
            )
        if complete != record.requirements:
            self.editor.set_requirements(component, complete)

    def note(self, what: str, message: str) -> None:
        self.notes.append(f"{what}: {message}")

    def where(self, keys: Keys) -> str:
        return self.editor.document.where(keys)
