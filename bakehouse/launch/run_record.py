"""run.json: what happened in a distributed run, and the folder that it lies in."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from bakehouse import layout
from bakehouse.errors import HostError, InputError, RunError
from bakehouse.launch.environment import Setting

FILE_NAME = "run.json"
SCHEMA = 1
Outcome = Literal["running", "done", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A node that was killed on purpose.

    Attributes:
        node: Its number.
        after_step: The step that had to be logged before.
        at_step: The last step that was logged when the kill was sent.
    """

    node: int
    after_step: int
    at_step: int


@dataclass(kw_only=True)
class Attempt:
    """One start of all nodes, to their end.

    Attributes:
        attempt: 1 for the first.
        started: Time in UTC, ISO 8601.
        seconds: From creating the first container to the end of the last one.
        killed: The node that was killed in this attempt.
        exit_statuses: By node; None for one that did not end.
        records: The JSON lines that the training printed.
    """

    attempt: int
    started: str
    seconds: float = 0.0
    killed: Killed | None = None
    exit_statuses: list[int | None] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Records of one kind, in order."""
        return [record for record in self.records if record.get("event") == kind]


@dataclass(kw_only=True)
class RunRecord:
    """A whole run. Only the outcome `done` means that the training came to its end.

    Attributes:
        expected: What the test case promises for a run of this shape.
        environment: Variables given to the processes, each with its reason.
    """

    case: str
    configuration: str
    image: str
    image_id: str
    started: str
    nodes: int
    processes_per_node: int
    environment: list[Setting]
    expected: dict[str, Any]
    outcome: Outcome = "running"
    error: str | None = None
    seconds: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The content of run.json."""
        values = asdict(self)
        values["environment"] = {
            setting.variable: {"value": setting.value, "reason": setting.reason}
            for setting in self.environment
        }
        return {"schema": SCHEMA, **values}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The record that a run.json holds.

        Raises:
            KeyError, TypeError, ValueError: It is not the content of a run.json of this schema.
        """
        values = dict(content)
        if values.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        values["environment"] = [
            Setting(variable=name, **value) for name, value in values["environment"].items()
        ]
        values["attempts"] = [
            Attempt(
                **{**attempt, "killed": Killed(**attempt["killed"]) if attempt["killed"] else None}
            )
            for attempt in values["attempts"]
        ]
        return cls(**values)

    def write(self, folder: Path) -> None:
        """Replace run.json in one move, so that a reader never sees half of it.

        Raises:
            HostError: The file cannot be written.
        """
        target = folder / FILE_NAME
        temporary = folder / f".{FILE_NAME}.tmp"
        try:
            temporary.write_text(json.dumps(self.as_json(), indent=1) + "\n", encoding="utf-8")
            temporary.replace(target)
        except OSError as error:
            raise HostError(
                f"the record of the run cannot be written: {error}",
                where=str(target),
                remedy="free space or choose another folder with --output",
            ) from error


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder for one run; another run that wants it at the same time is refused.

    Raises:
        RunError: Another run holds it.
    """
    locks = layout.STATE / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    with (locks / f"run-{name}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise RunError(
                f"another run (process {file.read().strip() or 'unknown'}) writes to this folder",
                where=str(folder),
                remedy="wait for it, or choose another folder with --output",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def refuse_foreign(folder: Path) -> None:
    """Refuse an output folder that holds anything but an earlier run: it would be emptied.

    Raises:
        InputError: It is not a folder, or not one of ours.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError("the output is not a folder", where=str(folder))
    if any(folder.iterdir()) and not (folder / FILE_NAME).is_file():
        raise InputError(
            f"the folder is not empty and holds no {FILE_NAME} of an earlier run",
            where=str(folder),
            remedy="choose an empty folder; its content would be deleted",
        )


def begin(folder: Path, record: RunRecord) -> None:
    """Empty the folder, and leave a record that says that the run has begun.

    The record goes first: at no moment do old results lie there as if they were new.

    Raises:
        HostError: Old results cannot be removed, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record.write(folder)
        for old in folder.iterdir():
            if old.name == FILE_NAME:
                continue
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            else:
                old.unlink()
    except OSError as error:
        raise HostError(
            f"old results cannot be replaced: {error}",
            where=str(folder),
            remedy="remove the folder, perhaps as root, or choose another one with --output",
        ) from error
