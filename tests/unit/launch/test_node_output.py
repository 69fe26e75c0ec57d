"""What is made of a container's output."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from bakehouse import engine
from bakehouse.launch.node import Ended, Record, follow, last_words, parse

Chunks = list[tuple[bytes | None, bytes | None]]


class FakeContainer:
    """A container that has ended."""

    def __init__(self, status: int, *, out_of_memory: bool = False) -> None:
        self.status = status
        self.attrs = {"State": {"OOMKilled": out_of_memory}}

    def wait(self) -> dict[str, int]:
        return {"StatusCode": self.status}

    def reload(self) -> None:
        pass


def followed(
    monkeypatch: pytest.MonkeyPatch, log: Path, chunks: Chunks, container: Any = None
) -> tuple[Ended, list[Record]]:
    def output(_container: object) -> Iterator[tuple[bytes | None, bytes | None]]:
        yield from chunks

    monkeypatch.setattr(engine, "output", output)
    records: list[Record] = []
    return follow(cast("Any", container or FakeContainer(0)), log, records.append), records


def test_lines_are_whole_wherever_the_chunks_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chunks: Chunks = [
        (b'{"event": "st', None),
        (None, b"a warn"),
        (b'ep", "step": 1}\n{"event"', None),
        (None, b"ing\n"),
        (b': "step", "step": 2}', None),
    ]
    _, records = followed(monkeypatch, tmp_path / "log", chunks)
    assert [record["step"] for record in records] == [1, 2]
    assert (tmp_path / "log").read_text().splitlines() == [
        '{"event": "step", "step": 1}',
        "a warning",
        '{"event": "step", "step": 2}',
    ]


def test_records_come_from_standard_output_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, records = followed(monkeypatch, tmp_path / "log", [(None, b'{"event": "step"}\n')])
    assert records == []


def test_a_second_attempt_adds_to_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for text in (b"one\n", b"two\n"):
        followed(monkeypatch, tmp_path / "log", [(text, None)])
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_bytes_that_are_no_text_do_no_harm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    followed(monkeypatch, tmp_path / "log", [(b"\xff\xfe\n", None)])
    assert (tmp_path / "log").read_text() == "\ufffd\ufffd\n"


def test_the_end_is_told_with_status_and_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    container = FakeContainer(137, out_of_memory=True)
    ended, _ = followed(monkeypatch, tmp_path / "log", [], container)
    assert ended == Ended(status=137, out_of_memory=True)


@pytest.mark.parametrize(
    "line", ["", "text", "{", '{"no": "event"}', '{"event": 1}', '["event"]', '{"event": "x"} y']
)
def test_other_lines_are_no_records(line: str) -> None:
    assert parse(line) is None


def test_a_failed_process_speaks_before_torchrun(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("[rank1]: Traceback\n[rank1]: ValueError: x\n" + "torchrun's page\n" * 50)
    assert last_words(log) == "[rank1]: Traceback\n[rank1]: ValueError: x"


def test_without_such_lines_the_end_of_the_log_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert last_words(log).splitlines() == [f"line {number}" for number in range(80, 100)]


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert last_words(tmp_path / "none") == ""
