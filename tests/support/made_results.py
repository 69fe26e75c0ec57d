"""Results that no check has found."""

from dataclasses import replace

from bakehouse.checks.result import Result

IMAGE_ID = f"sha256:{'ab' * 32}"


def result(identifier: str, status: str = "pass", **changes: object) -> Result:
    """A result of the group node."""
    made = Result(
        id=identifier,
        group="node",
        title=identifier.capitalize(),
        status=status,
        measured=1,
        expected=1,
        source="the tests",
        reason="" if status == "pass" else "it is so",
        remedy="" if status == "pass" else "do something",
        seconds=0.5,
    )
    return replace(made, **changes)  # type: ignore[arg-type]
