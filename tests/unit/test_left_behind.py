"""Whose a container is, when tests look for what they left behind."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from left_behind import is_anothers, is_product

from bakehouse import owner
from bakehouse.owner import OWNER, owner_label

SAY = "from bakehouse.owner import owner_label; print(*owner_label().values(), flush=True); input()"


def label_of(pid: int) -> dict[str, str]:
    """The label that a running process would give."""
    boot, _, _ = owner_label()[OWNER].split(":")
    return {OWNER: f"{boot}:{pid}:{owner._started(pid)}"}


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("bakehouse/cpu:latest", True),
        ("bakehouse-stand-in/amazon2023:latest", True),
        ("bakehouse/of-a-test:latest", False),
    ],
)
def test_what_later_runs_use_again_is_no_leftover(tag: str, expected: bool) -> None:
    assert is_product(tag) is expected


@pytest.mark.parametrize(
    ("whose", "expected"),
    [
        (owner_label, False),
        (lambda: label_of(os.getppid()), True),
        (lambda: label_of(1), True),
        (lambda: {OWNER: "another boot:1:1"}, False),
        (lambda: {OWNER: ""}, False),
        (dict, False),
    ],
    ids=["ours", "our parent's", "the first process'", "from before", "empty", "nobody's"],
)
def test_only_what_another_running_program_owns_is_anothers(
    whose: Callable[[], dict[str, str]], expected: bool
) -> None:
    assert is_anothers(whose()) is expected


def test_what_a_program_that_we_started_owns_is_ours() -> None:
    command = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, SAY]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        label = {OWNER: process.stdout.readline().strip()}
        assert label[OWNER].count(":") == 2
        assert not is_anothers(label)
        process.communicate("\n")
