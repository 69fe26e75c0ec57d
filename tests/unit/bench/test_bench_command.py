"""`bakehouse bench collectives`: what is asked for, read, compared, drawn and refused."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from bakehouse import cli
from bakehouse.bench import nccl_tests, processes
from bakehouse.bench.measurements import Measurement, from_output
from bakehouse.bench.plot import size_text, svg
from bakehouse.errors import CheckError, HostError, InputError, RunError


def record(operation: str, size: int, busbw: float, wrong: int = 0) -> dict[str, Any]:
    bandwidths = {"algbw_gb_per_s": busbw / 2, "busbw_gb_per_s": busbw}
    return {
        "event": "measured", "operation": operation, "bytes": size, "count": size // 4, "runs": 9,
        "time_us": 10.5, **bandwidths, "wrong": wrong,
    }  # fmt: skip


START = {"event": "start", "ranks": 2, "backend": "gloo", "torch": "2.0", "limit": 2**30}
GOOD = [
    START,
    record("all_reduce", 1024, 0.5),
    record("all_reduce", 2048, 1.0),
    record("sendrecv", 1024, 0.25),
    {"event": "end", "wrong": 0},
]


def lines(records: list[dict[str, Any]]) -> list[str]:
    return ["a warning of somebody", *(json.dumps(one) for one in records)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], bool]]:
    """What is asked of the engine; it answers with a good measurement."""
    calls = []

    def answer(image: str, arguments: list[str], *, gpus: bool, timeout_s: float) -> list[str]:
        assert timeout_s > 0
        calls.append((image, arguments, gpus))
        return lines(GOOD)

    monkeypatch.setattr(processes, "in_container", answer)
    return calls


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(cli.application, ["bench", "collectives", *arguments])


def test_what_is_asked_for_reaches_the_program(asked: list[tuple[str, list[str], bool]]) -> None:
    done = bench("--processes", "4", "--least", "1KiB", "--most", "16MiB", "--gpus",
                 "--operations", "all_reduce,broadcast", "--image", "gpu")  # fmt: skip
    assert done.exception is None, done.output
    assert asked == [
        (
            "bakehouse/gpu:latest",
            ["torchrun", "--standalone", "--nproc-per-node=4", "-m", "collectives",
             "--least=1024", "--most=16777216", "--operations=all_reduce,broadcast"],
            True,
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("case/cpu-ddp", "bakehouse/cpu-ddp:latest"),
        ("mine:1", "mine:1"),
        ("place/mine", "place/mine"),
    ],
)
def test_an_image_is_one_of_ours_or_any(
    asked: list[tuple[str, list[str], bool]], name: str, reference: str
) -> None:
    assert bench("--image", name).exception is None
    assert asked[0][0] == reference


@pytest.mark.usefixtures("asked")
def test_figures_are_shown_and_told_to_machines() -> None:
    table = bench().output
    assert "2 processes over gloo, torch 2.0" in table
    assert [line.split()[1:4] for line in table.splitlines() if "sendrecv" in line] == [
        ["sendrecv", "│", "1"]
    ]
    content = json.loads(bench("--json").output)
    assert content["ranks"] == 2
    assert content["measurements"][1] == {
        "operation": "all_reduce", "bytes": 2048, "time_us": 10.5, "algbw": 0.5, "busbw": 1.0,
        "wrong": 0,
    }  # fmt: skip


def test_wrong_numbers_are_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = [START, record("all_reduce", 1024, 0.5, wrong=3), {"event": "end", "wrong": 3}]
    monkeypatch.setattr(processes, "in_container", lambda *_, **__: lines(spoilt))
    done = bench()
    assert isinstance(done.exception, CheckError)
    assert "3 numbers arrived with another value" in str(done.exception)
    assert done.exception.exit_status == 1


def test_a_program_that_stopped_in_the_middle_measured_nothing() -> None:
    for records in (GOOD[:-1], GOOD[1:], []):
        with pytest.raises(RunError, match="did not come to its end"):
            from_output(lines(records))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--most", "12x"), "'12x' is no size"),
        (("--least", "0"), "'0' is no size"),
        (("--most", "1.5MiB"), "is no size"),
        (("--operations", "all_reduc"), "did you mean all_reduce?"),
        (("--image", "gpuu"), "did you mean gpu?"),
        (("--compare", "/nowhere/table.txt"), "the file cannot be read"),
    ],
)
def test_wrong_input_is_told_before_anything_starts(
    asked: list[tuple[str, list[str], bool]], arguments: tuple[str, ...], said: str
) -> None:
    done = bench(*arguments)
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert asked == []


def test_without_torchrun_here_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = bench("--here")
    assert isinstance(done.exception, HostError)
    assert "there is no torchrun here" in str(done.exception)


def test_a_program_that_fails_here_is_told_with_its_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "torchrun"
    program.write_text("#!/bin/sh\necho the cable is out >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    done = bench("--here")
    assert isinstance(done.exception, RunError)
    assert "exit status 3" in str(done.exception)
    assert "the cable is out" in str(done.exception)


NEW = """# Collective test starting: all_reduce_perf
#       size      count      type   redop    root     time   algbw   busbw  #wrong     time ...
        1024        256     float     sum      -1    11.20    0.09    0.10       0    11.10  0.1
        2048        512     float     sum      -1    11.50    0.18    2.00     N/A    11.40  2.1
# Avg bus bandwidth    : 0.9
"""
OLD = """$ ./build/sendrecv_perf -b 1K -e 1K
        1024           256   float     sum    11.20    0.09    0.50    0e+00    11.10    0.09
        1024           256   float    11.20    0.09    0.50       2    11.10    0.09    0.10
"""


def test_tables_of_nccl_tests_are_read(tmp_path: Path) -> None:
    table = tmp_path / "table.txt"
    table.write_text(NEW)
    found = nccl_tests.read(table)
    assert [(one.operation, one.bytes, one.busbw, one.wrong) for one in found] == [
        ("all_reduce", 1024, 0.10, 0),
        ("all_reduce", 2048, 2.00, 0),
    ]
    table.write_text(OLD)
    assert [(one.operation, one.time_us, one.wrong) for one in nccl_tests.read(table)] == [
        ("sendrecv", 11.2, 0),
        ("sendrecv", 11.2, 2),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [(NEW.replace("all_reduce_perf", "x"), "which program"), ("all_reduce_perf\n", "no row")],
)
def test_what_is_no_table_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "table.txt").write_text(text)
    with pytest.raises(InputError, match=said):
        nccl_tests.read(tmp_path / "table.txt")


@pytest.mark.usefixtures("asked")
def test_ours_is_told_as_a_multiple_of_nccl_tests(tmp_path: Path) -> None:
    (tmp_path / "table.txt").write_text(NEW)
    content = json.loads(bench("--json", "--compare", str(tmp_path / "table.txt")).output)
    assert [(one["bytes"], one["ratio"]) for one in content["nccl_tests"]] == [
        (1024, pytest.approx(5.0)),
        (2048, pytest.approx(0.5)),
    ]
    assert "0.50x" in bench("--compare", str(tmp_path / "table.txt")).output


def test_what_nccl_tests_rounds_to_nothing_is_not_compared() -> None:
    def one(size: int, busbw: float) -> Measurement:
        return Measurement(operation="broadcast", bytes=size, time_us=1, algbw=busbw, busbw=busbw,
                           wrong=0)  # fmt: skip

    found = nccl_tests.ratios([one(8, 0.001), one(16, 1.0)], [one(8, 0.0), one(16, 2.0)])
    assert found == [("broadcast", 16, 0.5)]


@pytest.mark.usefixtures("asked")
def test_a_drawing_has_a_line_for_each_operation(tmp_path: Path) -> None:
    done = bench("--plot", str(tmp_path / "plot.svg"))
    assert done.exception is None
    root = ElementTree.fromstring((tmp_path / "plot.svg").read_text())
    space = "{http://www.w3.org/2000/svg}"
    points = [line.get("points", "").split() for line in root.iter(f"{space}polyline")]
    assert [len(line) for line in points] == [2, 1]
    (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in points[0])
    assert x2 > x1, "a larger size stands further right"
    assert y2 < y1, "more bandwidth stands higher"
    labels = [text.text for text in root.iter(f"{space}text")]
    assert {"all_reduce", "sendrecv", "1 KiB", "2 KiB"} <= set(labels)


def test_nothing_measured_above_zero_still_makes_a_drawing() -> None:
    flat = [START, record("broadcast", 8, 0.0), {"event": "end", "wrong": 0}]
    assert "<polyline" in svg(from_output(lines(flat)), "flat")


@pytest.mark.usefixtures("asked")
def test_a_drawing_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    done = bench("--plot", str(tmp_path / "none" / "plot.svg"))
    assert isinstance(done.exception, HostError)


@pytest.mark.parametrize(
    ("size", "text"), [(8, "8 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (2**26, "64 MiB"),
                       (2**34, "16 GiB")],
)  # fmt: skip
def test_sizes_are_written_as_people_do(size: int, text: str) -> None:
    assert size_text(size) == text
