"""The content of a report, from which JSON, HTML and JUnit XML are rendered."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from bakehouse.checks.result import Result, counts
from bakehouse.report.inventory import Inventory

SCHEMA = 1
_SHAPE: dict[str, type | tuple[type, ...]] = {
    "image": str,
    "image_id": str,
    "size_bytes": int,
    "made": str,
    "judge": str,
    "identity": (dict, type(None)),
    "stack_versions": dict,
    "results": list,
    "facts": dict,
    "packages": dict,
    "build": dict,
    "builds_below": list,
    "run": (dict, type(None)),
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is known of an image.

    Attributes:
        image: Its name.
        image_id: Docker's.
        size_bytes: Its size.
        made: When the report was made, ISO 8601.
        judge: Digest of the code that judged.
        identity: What the image says of itself.
        stack_versions: What the stack promises.
        results: Of checks and host tests.
        facts: Versions that a host test looked at.
        inventory: Its packages.
        build: layers.json.
        builds_below: The same of the images below that roles have made, the lowest first.
        run: run.json of its last training run, if there is one.
    """

    image: str
    image_id: str
    size_bytes: int
    made: str
    judge: str
    identity: dict[str, Any] | None
    stack_versions: dict[str, str]
    results: list[Result]
    facts: dict[str, str]
    inventory: Inventory
    build: dict[str, Any]
    builds_below: list[dict[str, Any]] = field(default_factory=list)
    run: dict[str, Any] | None = None
    files: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many results have each status."""
        return counts(self.results)

    @property
    def verdict(self) -> str:
        """`fail` if anything failed or nothing was looked at, else `pass`."""
        return _verdict(self.counts)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        content = asdict(self)
        packages = content.pop("inventory")["packages"]
        content["packages"] = {
            kind: {p["name"]: p["version"] for p in packages if p["kind"] == kind}
            for kind in sorted({p["kind"] for p in packages})
        }
        return {"schema": SCHEMA, "verdict": self.verdict, "counts": self.counts, **content}


def read(text: str) -> dict[str, Any]:
    """The content of a report.json.

    Raises:
        ValueError: It is not one, or its verdict and counts are not those of its results.
    """
    content = json.loads(text)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(f"no report of schema {SCHEMA}")
    for key, kind in _SHAPE.items():
        if not isinstance(content.get(key, ...), kind):
            raise ValueError(f"{key} is missing, or of another kind")
    try:
        found = counts([Result(**result) for result in content["results"]])
    except TypeError as error:
        raise ValueError(f"a result is not one: {error}") from error
    if content.get("counts") != found or content.get("verdict") != _verdict(found):
        raise ValueError("verdict and counts are not those of its results")
    return content


def _verdict(found: dict[str, int]) -> str:
    looked_at = found["pass"] + found["warn"]
    return "pass" if looked_at and not found["fail"] else "fail"
