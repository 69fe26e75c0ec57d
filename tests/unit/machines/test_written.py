"""Which role wrote what, by the clocks of two machines."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from bakehouse.builder.buildkit import Step
from bakehouse.machines import written


def steps(**began_at: float) -> dict[str, Step]:
    return {name: Step(name=name, marked=True, began_at=at) for name, at in began_at.items()}


def test_a_file_is_of_the_role_that_began_last_before_it() -> None:
    at = {"9.9": 1, "10.0": 2, "14.9": 4, "15.0": 8, "99.0": 16}
    found = written.by_role(at, steps(one=10.0, two=15.0, never=100.0))
    assert found == {"one": 6, "two": 24, "never": 0}


def measured(listing: str, clock: float, since: float) -> written.Written:
    def execute(command: Sequence[str]) -> tuple[int, str]:
        return 0, listing if command[0] == "sh" else f"{clock}\n"

    return written.measure(execute, since)


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
def test_a_clock_that_is_wrong_is_set_right(ahead: float) -> None:
    now = time.time()
    listing = f"{now + ahead - 5:.1f} 4096\n{now + ahead - 500:.1f} 8192\n"
    found = measured(listing, now + ahead, since=now - 60)
    assert found.bytes == 4096 + 8192
    assert found.clock_ahead_s == pytest.approx(ahead, abs=0.5)
    ((moment, size),) = found.at.items()
    assert size == 4096
    assert float(moment) == pytest.approx(now - 5, abs=0.6)


def test_a_machine_that_does_not_say_holds_nothing() -> None:
    found = written.measure(lambda _command: (127, "sh: not found"), 0.0)
    assert (found.bytes, found.clock_ahead_s, found.at) == (0, 0.0, {})


def test_a_file_with_two_names_counts_once_and_a_log_does_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10**6)
    (tmp_path / "same").hardlink_to(tmp_path / "file")
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "var/log/journal").write_bytes(b"x" * 10**6)
    script = written._SCRIPT.replace("find /", f"find {tmp_path}").replace(
        "/var", f"{tmp_path}/var"
    )
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert 10**6 <= sum(int(line.split()[1]) for line in done.stdout.splitlines()) < 1.1e6
