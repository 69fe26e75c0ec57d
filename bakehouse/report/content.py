"""The content of a report, from which JSON, HTML and JUnit XML are rendered."""

from dataclasses import asdict, dataclass, field
from typing import Any

from bakehouse.checks.result import Result, counts
from bakehouse.report.inventory import Inventory


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
        """`fail` if anything failed, else `pass`; what was skipped is not part of it."""
        return "fail" if self.counts["fail"] else "pass"

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        content = asdict(self)
        packages = content.pop("inventory")["packages"]
        content["packages"] = {
            kind: {p["name"]: p["version"] for p in packages if p["kind"] == kind}
            for kind in sorted({p["kind"] for p in packages})
        }
        return {"schema": 1, "verdict": self.verdict, "counts": self.counts, **content}
