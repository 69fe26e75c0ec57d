"""docs/benchmarks.md: each benchmark has a marked part of it, and says when and how it ran."""

import os
import platform
from datetime import UTC, datetime

from bakehouse import layout

PAGE = layout.ROOT / "docs" / "benchmarks.md"


def measured(what: str, command: str) -> str:
    """When, where and by which command."""
    kernel = platform.release().split("-")[0]
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d}: {what} on {os.cpu_count()} cores, "
        f"{platform.machine()}, Linux {kernel}, by `{command}`."
    )


def write(part: str, text: str) -> None:
    """Replace the part of the page that is marked with this name."""
    begin, end = f"<!-- BEGIN {part} -->", f"<!-- END {part} -->"
    page = PAGE.read_text(encoding="utf-8")
    if begin not in page or end not in page:
        raise ValueError(f"{PAGE}: no part is marked {begin} … {end}")
    head, _, rest = page.partition(begin)
    PAGE.write_text(f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")
