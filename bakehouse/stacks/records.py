"""The six kinds of record. Each carries what verifies its download; no other can be written.

Where an artefact differs by architecture or platform, its record has one more level, complete.
"""

import datetime
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from bakehouse.stacks.openpgp import fingerprints
from bakehouse.stacks.validation import Model

Text = Annotated[str, Field(pattern=r"^\S+$")]
Prose = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, lower-case hex")]
GitHash = Annotated[
    str, Field(pattern=r"^[0-9a-f]{40}$", description="git's SHA-1, lower-case hex")
]
Fingerprint = Annotated[
    str, Field(pattern=r"^[0-9A-Fa-f]{40}$", description="fingerprint of an OpenPGP key")
]
_BLOCK = "PGP PUBLIC KEY BLOCK-----"
ArmouredKey = Annotated[
    str,
    Field(
        pattern=rf"^-----BEGIN {_BLOCK}\n[\s\S]+-----END {_BLOCK}\n?$",
        description="an OpenPGP public key, armoured",
    ),
]
Url = Annotated[str, Field(pattern=r"^(https?|file)://\S+$")]
Architecture = Literal["x86_64", "aarch64"]
Family = Literal["debian", "redhat"]
Platform = Annotated[str, Field(pattern=r"^[a-z]+[0-9.]*-(x86_64|aarch64)$")]
Component = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*_release$")]

_REPOSITORY_SCHEMA: dict[str, Any] = {
    "anyOf": [{"required": ["key_sha256"]}, {"required": ["key_fingerprint"]}],
    "dependentRequired": {"suite": ["components"], "components": ["suite"]},
}
_PYTHON_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"required": ["unlocked"]},
        {"properties": {"requirements": {"items": {"required": ["sha256"]}}}},
    ]
}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NO_KEY = "a repository needs `key_sha256` or `key_fingerprint`: no package is used unverified"


class Pin(Model):
    """Why a version stays where it is, and until when."""

    reason: Prose
    link: Url
    review_by: datetime.date = Field(strict=False)

    @field_validator("review_by", mode="before")
    @classmethod
    def _written_as_a_date(cls, value: Any) -> Any:
        if not isinstance(value, datetime.date) and not _DATE.fullmatch(str(value)):
            raise ValueError("this must be a date such as 2027-01-31")
        return value


class _Record(Model):
    version: Text = Field(description="upstream's version, as text")
    pin: Pin | None = None


class Artifact(Model):
    """One file and its digest."""

    url: Url
    sha256: Sha256


class Signature(Model):
    """A vendor's detached OpenPGP signature, which a file must have beside its digest."""

    suffix: str = Field(
        pattern=r"^\.[A-Za-z0-9.]+$",
        description="what is behind the file's address in that of its signature",
    )
    key: ArmouredKey
    fingerprint: Fingerprint

    @model_validator(mode="after")
    def _of_this_key(self) -> Self:
        present = fingerprints(self.key.encode())
        if present != [self.fingerprint.upper()]:
            found = " and ".join(present) or "no key"
            raise ValueError(f"`fingerprint` is not that of `key`, which holds {found}")
        return self


class ArchiveRecord(_Record):
    """A file fetched from a vendor, verified by its digest."""

    url: Url
    sha256: Sha256
    signature: Signature | None = None

    def artifacts(self) -> dict[str, Artifact]:
        """The artefact by architecture; the key is empty, since one file serves all."""
        return {"": Artifact(url=self.url, sha256=self.sha256)}


class ArchivesRecord(_Record):
    """A file for each architecture, verified by its digest."""

    by_architecture: dict[Architecture, Artifact] = Field(min_length=1)
    signature: Signature | None = None

    def artifacts(self) -> dict[str, Artifact]:
        """Artefacts by architecture."""
        return {str(name): artifact for name, artifact in self.by_architecture.items()}


class SourceRecord(_Record):
    """A source tree at a commit, as a host of git repositories packs it.

    How such an archive is compressed is promised by nobody, but what is in it is what the commit
    holds: it is verified by git's own hash of that, which `git rev-parse COMMIT^{tree}` prints.
    """

    version: GitHash = Field(description="the commit")
    url: Url
    git_tree: GitHash = Field(description="git's hash of the commit's tree")


class Repository(Model):
    """A signed package repository and the key that signs it."""

    model_config = ConfigDict(json_schema_extra=_REPOSITORY_SCHEMA)

    repository: Url
    key_url: Url
    key_sha256: Sha256 | None = None
    key_fingerprint: Fingerprint | None = None
    suite: Text | None = Field(
        default=None, description="of an apt repository with suites; without one it is flat"
    )
    components: list[Text] | None = Field(
        default=None, min_length=1, description="of an apt repository with suites"
    )
    package: Text | None = None

    @model_validator(mode="after")
    def _verified(self) -> Self:
        if (self.suite is None) != (self.components is None):
            raise ValueError("`suite` and `components` belong together")
        if self.key_sha256 is None and self.key_fingerprint is None:
            raise ValueError(_NO_KEY)
        return self


class RepositoryRecord(_Record, Repository):
    """A package from a vendor's repository, verified by the repository's signature."""

    model_config = ConfigDict(json_schema_extra=_REPOSITORY_SCHEMA)

    def repositories(self) -> dict[str, Repository]:
        """The repository by platform; the key is empty, since one serves all."""
        return {"": self}


class RepositoriesRecord(_Record):
    """A package from a vendor's repositories, one for each platform."""

    by_platform: dict[Platform, Repository] = Field(min_length=1)
    package: Text | None = None

    def repositories(self) -> dict[str, Repository]:
        """Repositories by platform."""
        return dict(self.by_platform)


class DistributionRecord(_Record):
    """A package of the distribution itself, verified by the distribution's archive key."""

    package: Text


class DistributionsRecord(_Record):
    """A package of the distribution itself, whose name differs between families."""

    by_family: dict[Family, Text] = Field(min_length=1)


class Requirement(Model):
    """One Python distribution and the digests of its acceptable wheels.

    Without digests nothing can be installed; only a record that says why it is `unlocked` may have
    such a requirement, until `bakehouse stack lock` has written them.
    """

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    version: Text
    sha256: list[Sha256] = Field(default_factory=list, min_length=1)


class PythonRecord(_Record):
    """A Python distribution with its complete closure, verified by pip's --require-hashes."""

    model_config = ConfigDict(json_schema_extra=_PYTHON_SCHEMA)

    requirements: list[Requirement] = Field(min_length=1)
    index: Url | None = Field(default=None, description="the vendor's own index of wheels")
    package: Text | None = None
    unlocked: Pin | None = Field(
        default=None,
        description="why digests are not written yet; until they are, nothing of it is installed",
    )

    @property
    def without_digests(self) -> list[str]:
        """Distributions that cannot be installed yet."""
        return [r.name for r in self.requirements if not r.sha256]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.requirements[0].version != self.version:
            raise ValueError(
                "the first requirement is the component itself, at the record's version "
                f"({self.version}), not {self.requirements[0].version}"
            )
        if self.without_digests and self.unlocked is None:
            name = self.without_digests[0]
            raise ValueError(f"{name} has no sha256: no wheel is used unverified")
        names = [requirement.name for requirement in self.requirements]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} is required twice")
        return self


class BundledRecord(_Record):
    """A component that comes inside another one, verified by the bundle's digest."""

    bundled_in: Component


Record = (
    ArchiveRecord
    | ArchivesRecord
    | SourceRecord
    | RepositoryRecord
    | RepositoriesRecord
    | DistributionRecord
    | DistributionsRecord
    | PythonRecord
    | BundledRecord
)

KIND_NAMES: Mapping[type[_Record], str] = {
    ArchiveRecord: "archive",
    ArchivesRecord: "archive",
    SourceRecord: "source",
    RepositoryRecord: "repository",
    RepositoriesRecord: "repository",
    DistributionRecord: "distribution",
    DistributionsRecord: "distribution",
    PythonRecord: "python",
    BundledRecord: "bundled",
}

# The keys that tell the kinds apart; the first that is there decides.
_MARKS: tuple[tuple[str, type[_Record]], ...] = (
    ("requirements", PythonRecord),
    ("bundled_in", BundledRecord),
    ("by_architecture", ArchivesRecord),
    ("by_platform", RepositoriesRecord),
    ("by_family", DistributionsRecord),
    ("repository", RepositoryRecord),
    ("key_url", RepositoryRecord),
    ("git_tree", SourceRecord),
    ("url", ArchiveRecord),
    ("sha256", ArchiveRecord),
    ("package", DistributionRecord),
)


def model_of(fields: Mapping[str, Any]) -> type[_Record] | None:
    """The kind of record that these fields describe; None if nothing in them verifies it."""
    return next((model for mark, model in _MARKS if mark in fields), None)


def kind_name(record: Record) -> str:
    """Archive, source, repository, distribution, python or bundled."""
    return KIND_NAMES[type(record)]


def record_keys() -> set[str]:
    """Every key that some kind of record has."""
    return {name for model in KIND_NAMES for name in model.model_fields}
