"""Source trees for test cases, fetched once by the host, each verified by its commit."""

from pathlib import Path

from bakehouse import layout
from bakehouse.builder.host_configuration import MIRRORS, mirrors
from bakehouse.builder.supply import Supply, lacking
from bakehouse.console import progress
from bakehouse.errors import DownloadError
from bakehouse.stacks import download, git_tree
from bakehouse.stacks.download import Policy
from bakehouse.stacks.records import SourceRecord
from bakehouse.stacks.stack import Stack, source_of_case


def prepare(stack: Stack, case: str, supply: Supply | None = None) -> Path | None:
    """The archive of the source that a test case is built with; later calls fetch nothing.

    Args:
        stack: Its record says where the source is, and what it must be.
        case: The test case.
        supply: A bundle that stands in for the host's own network.

    Returns:
        The archive, with one folder at its top; None for a case that has no source record.

    Raises:
        DownloadError: It cannot be had, or is not what the commit holds.
        InputError: The file of mirrors is wrong.
    """
    component = source_of_case(case)
    record = stack.records.get(component)
    if not isinstance(record, SourceRecord):
        return None
    place = layout.STATE / "sources" / f"{case}-{record.git_tree[:12]}.tar.gz"
    policy = Policy(mirrors=mirrors() if supply is None else supply.mirrors)
    with progress.status(f"fetching the source of {case}"):
        try:
            return fetch(record, place, policy)
        except DownloadError as error:
            if error.remedy != download.REMEDY:
                raise
            if supply is not None:
                raise lacking(error.what, f"{error.where} from {supply.name}") from error
            raise DownloadError(
                f"the source of the test case {case} cannot be had: {error.what}",
                where=error.where,
                remedy=f"build it where {record.url} can be reached, or name a mirror: a line "
                f"`https://github.com/: ADDRESS/` in the YAML file that {MIRRORS} names",
            ) from error


def fetch(record: SourceRecord, place: Path, policy: Policy) -> Path:
    """Bring the archive of a source to its place, verified.

    Raises:
        DownloadError: It cannot be had, or is not what the commit holds.
    """
    return download.fetch_measured(
        record.url,
        place,
        promised=record.git_tree,
        measured=git_tree.of,
        policy=policy,
        kind="git tree",
    )
