"""Of a failed play's hundred lines, the few that help."""

import json

import pytest

from bakehouse.builder.failures import relevant_lines

HEAD = ["PLAY [Bake] ****", "TASK [base : Set a limit] ****", "ok: [localhost]"]
TASK = "TASK [docker : Install the engine] *****"


def test_the_task_its_place_and_its_words_are_shown() -> None:
    result = {"msg": "the command failed", "stderr": "E: Unable to locate package docker.io"}
    lines = [
        *HEAD,
        TASK,
        "[ERROR]: Task failed: the command failed",
        "Origin: /mnt/roles/docker/tasks/install.yml:12:3",
        f"fatal: [localhost]: FAILED! => {json.dumps(result)}",
        "PLAY RECAP *****",
        "localhost : ok=1 failed=1",
    ]
    assert relevant_lines(lines) == [
        "task: docker : Install the engine",
        "at: roles/docker/tasks/install.yml:12",
        "the command failed",
        "E: Unable to locate package docker.io",
    ]


def test_a_failed_handler_is_named_as_such() -> None:
    lines = [
        *HEAD,
        "RUNNING HANDLER [docker : Restart it] ***",
        'fatal: [m]: FAILED! => {"msg": "no"}',
    ]
    assert relevant_lines(lines) == ["task: docker : Restart it", "no"]


def test_each_failed_item_of_a_loop_is_told() -> None:
    results = [{"failed": False, "msg": "fine"}, {"failed": True, "msg": "two is wrong"}]
    result = {"msg": "One or more items failed", "results": results}
    lines = [*HEAD, TASK, f"fatal: [localhost]: FAILED! => {json.dumps(result)}"]
    assert relevant_lines(lines)[1:] == ["One or more items failed", "two is wrong"]


def test_a_result_that_is_no_json_is_shown_as_it_is_up_to_the_recap() -> None:
    lines = [*HEAD, TASK, "fatal: [localhost]: FAILED! =>", "  msg: broken", "PLAY RECAP ***", "x"]
    assert relevant_lines(lines)[1:] == ["fatal: [localhost]: FAILED! =>", "  msg: broken"]


@pytest.mark.parametrize("lines", [["a", "", "b"], []])
def test_without_a_failed_task_the_end_of_the_output_is_shown(lines: list[str]) -> None:
    assert relevant_lines(lines) == [line for line in lines if line]


def test_a_flood_is_cut() -> None:
    result = {"msg": "x" * 5000, "stdout": "\n".join(str(number) for number in range(500))}
    shown = relevant_lines([*HEAD, TASK, f"fatal: [m]: FAILED! => {json.dumps(result)}"])
    assert len(shown) < 20
    assert max(map(len, shown)) < 500
    assert len(relevant_lines([str(number) for number in range(500)])) < 20
