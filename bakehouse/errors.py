"""Every failure that a user can cause or meet, with the exit status that it ends in."""

from typing import ClassVar


class BakehouseError(Exception):
    """A failure told to the user as what happened, where, and what to do about it.

    Args:
        what: What happened, one sentence.
        where: The file (with line and key), image, container or command it happened in.
        remedy: What the user does next.
    """

    exit_status: ClassVar[int] = 70

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        prefix = f"{self.where}: " if self.where else ""
        suffix = f"\n  remedy: {self.remedy}" if self.remedy else ""
        return f"{prefix}{self.what}{suffix}"


class CheckError(BakehouseError):
    """At least one check failed."""

    exit_status = 1


class InputError(BakehouseError):
    """The user's input (file, option, name) is wrong."""

    exit_status = 2


class HostError(BakehouseError):
    """This machine lacks something: engine, program, permission, disk space."""

    exit_status = 3


class DownloadError(BakehouseError):
    """An artefact could not be fetched, or is not what its record promises."""

    exit_status = 4


class BuildError(BakehouseError):
    """An image build failed."""

    exit_status = 5


class RunError(BakehouseError):
    """A distributed run failed."""

    exit_status = 6
