"""The five kinds of record. Each carries what verifies its download; no other can be written."""

import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, lower-case hex")]
Fingerprint = Annotated[
    str, Field(pattern=r"^[0-9A-F]{40}$", description="OpenPGP key fingerprint")
]
Url = Annotated[str, Field(pattern=r"^(https?|file)://\S+$")]
Architecture = Literal["x86_64", "aarch64"]
Platform = Annotated[str, Field(pattern=r"^[a-z]+[0-9.]*-(x86_64|aarch64)$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pin(_Model):
    """Why a version stays where it is, and until when."""

    reason: str
    link: Url
    review_by: datetime.date


class _Record(_Model):
    version: str = Field(min_length=1, description="upstream's version, as text")
    pin: Pin | None = None


class Artifact(_Model):
    """One file and its digest."""

    url: Url
    sha256: Sha256


class ArchiveRecord(_Record):
    """A file fetched from a vendor, verified by its digest."""

    url: Url | None = None
    sha256: Sha256 | None = None
    by_architecture: dict[Architecture, Artifact] | None = None

    @model_validator(mode="after")
    def _verified(self) -> Self:
        single = self.url is not None or self.sha256 is not None
        if single and (self.url is None or self.sha256 is None):
            raise ValueError("`url` and `sha256` belong together: no download is used unverified")
        if single == (self.by_architecture is not None):
            raise ValueError("give either `url` and `sha256`, or `by_architecture`")
        return self

    def artifacts(self) -> dict[str, Artifact]:
        """Artifacts by architecture; the key is empty where one file serves all."""
        if self.by_architecture is not None:
            return {str(name): artifact for name, artifact in self.by_architecture.items()}
        assert self.url is not None
        assert self.sha256 is not None
        return {"": Artifact(url=self.url, sha256=self.sha256)}


class Repository(_Model):
    """A signed package repository and the key that signs it."""

    repository: Url
    key_url: Url
    key_sha256: Sha256 | None = None
    key_fingerprint: Fingerprint | None = None
    package: str | None = None

    @model_validator(mode="after")
    def _verified(self) -> Self:
        if self.key_sha256 is None and self.key_fingerprint is None:
            raise ValueError("a repository needs `key_sha256` or `key_fingerprint`")
        return self


class RepositoryRecord(_Record):
    """A package from a vendor's repository, verified by the repository's signature."""

    repository: Url | None = None
    key_url: Url | None = None
    key_sha256: Sha256 | None = None
    key_fingerprint: Fingerprint | None = None
    package: str | None = None
    by_platform: dict[Platform, Repository] | None = None

    @model_validator(mode="after")
    def _verified(self) -> Self:
        if (self.repository is None) == (self.by_platform is None):
            raise ValueError("give either `repository` with its key, or `by_platform`")
        if self.repository is not None:
            if self.key_url is None or (self.key_sha256 is None and self.key_fingerprint is None):
                raise ValueError(
                    "a repository needs `key_url` and `key_sha256` or `key_fingerprint`"
                )
        elif self.key_url or self.key_sha256 or self.key_fingerprint:
            raise ValueError("with `by_platform` the key stands at each platform")
        return self


class DistributionRecord(_Record):
    """A package of the distribution itself, verified by the distribution's archive key."""

    package: str | None = None
    by_family: dict[str, str] | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.package is None) == (self.by_family is None):
            raise ValueError("give either `package` or `by_family`")
        return self


class Requirement(_Model):
    """One Python distribution and the digests of its acceptable wheels."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    version: str
    sha256: list[Sha256] = Field(min_length=1)


class PythonRecord(_Record):
    """A Python distribution with its complete closure, verified by pip's --require-hashes."""

    requirements: list[Requirement] = Field(min_length=1)
    index: Url | None = None
    package: str | None = None

    @model_validator(mode="after")
    def _first_is_the_component(self) -> Self:
        if self.requirements[0].version != self.version:
            raise ValueError(
                "the first requirement is the component itself, at the record's version"
            )
        return self


class BundledRecord(_Record):
    """A component that comes inside another one, verified by the bundle's digest."""

    bundled_in: str = Field(pattern=r"^[a-z][a-z0-9_]*_release$")


Record = ArchiveRecord | RepositoryRecord | DistributionRecord | PythonRecord | BundledRecord

KINDS: dict[str, type[_Record]] = {
    "archive": ArchiveRecord,
    "repository": RepositoryRecord,
    "distribution": DistributionRecord,
    "python": PythonRecord,
    "bundled": BundledRecord,
}
_MARKS = (
    ("requirements", "python"),
    ("bundled_in", "bundled"),
    ("url", "archive"),
    ("sha256", "archive"),
    ("by_architecture", "archive"),
    ("repository", "repository"),
    ("by_platform", "repository"),
    ("key_url", "repository"),
    ("package", "distribution"),
    ("by_family", "distribution"),
)


def kind_of(fields: dict[str, Any]) -> str | None:
    """Which kind of record these fields describe; None if nothing in them verifies a download."""
    return next((kind for mark, kind in _MARKS if mark in fields), None)
