"""A record in words, for tables."""

from bakehouse.stacks.records import (
    ArchiveRecord,
    ArchivesRecord,
    BundledRecord,
    PythonRecord,
    Record,
    RepositoriesRecord,
    Repository,
    RepositoryRecord,
    SourceRecord,
)


def how_verified(record: Record) -> str:
    """What a download of this record is verified by."""
    match record:
        case ArchiveRecord():
            found = f"sha256 {record.sha256[:12]}…{_signed(record)}"
        case ArchivesRecord():
            found = "sha256 for " + ", ".join(record.artifacts()) + _signed(record)
        case SourceRecord():
            found = f"git tree {record.git_tree[:12]}…"
        case RepositoryRecord():
            found = _key(record)
        case RepositoriesRecord():
            keys = sorted({_key(repository) for repository in record.repositories().values()})
            found = f"{', '.join(keys)}; {len(record.by_platform)} platforms"
        case PythonRecord():
            wheels = sum(len(requirement.sha256) for requirement in record.requirements)
            found = f"sha256 of {wheels} wheels of {len(record.requirements)} distributions"
            if record.without_digests:
                found += f"; {len(record.without_digests)} have none yet"
        case BundledRecord():
            found = f"what verifies {record.bundled_in}"
        case _:
            found = "the distribution's archive key"
    return found


def _signed(record: ArchiveRecord | ArchivesRecord) -> str:
    key = record.signature
    return f"; signature of key …{key.fingerprint[-16:]}" if key else ""


def _key(repository: Repository) -> str:
    if repository.key_fingerprint is not None:
        return f"key …{repository.key_fingerprint[-16:]}"
    return f"key with sha256 {str(repository.key_sha256)[:12]}…"
