"""Starting other programs."""

import pytest

from bakehouse.errors import BuildError, HostError
from bakehouse.process import run


def test_standard_output_is_returned() -> None:
    assert run(["printf", "%s", "bread"], failure=BuildError) == "bread"


def test_standard_input_and_environment_reach_the_program() -> None:
    command = ["sh", "-c", 'read line; echo "$line $KIND"']
    assert run(command, failure=BuildError, stdin="rye\n", env={"KIND": "bread"}) == "rye bread\n"


def test_failure_is_of_the_asked_class_and_shows_the_last_lines() -> None:
    with pytest.raises(BuildError, match="status 3:\nburnt") as caught:
        run(["sh", "-c", "echo burnt >&2; exit 3"], failure=BuildError, remedy="lower the heat")
    assert caught.value.remedy == "lower the heat"
    assert "exit 3" in caught.value.where


def test_a_missing_program_is_the_hosts_fault() -> None:
    with pytest.raises(HostError, match="no-such-program is not installed"):
        run(["no-such-program"], failure=BuildError)


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(BuildError, match=r"did not end within 0\.2 s"):
        run(["sleep", "30"], failure=BuildError, timeout_s=0.2)
