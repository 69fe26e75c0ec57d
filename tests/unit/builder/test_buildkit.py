"""What is read out of BuildKit's plain progress."""

import pytest

from bakehouse.builder.buildkit import Event, Reader, Step

CONTROLLER = "#6 [ansible 2/2] RUN --mount=type=bind,target=/mnt pip install ansible-core"
LAYER = (
    "#7 [stage-1 2/2] RUN --mount=type=tmpfs,target=/tmp : bakehouse-layer=base:0123abcd; exec sh"
)

Events = list[tuple[Event, str]]


@pytest.fixture
def events() -> Events:
    return []


@pytest.fixture
def reader(events: Events) -> Reader:
    def keep(event: Event, step: Step, _line: str) -> None:
        events.append((event, step.name))

    return Reader(keep)


def read(reader: Reader, *lines: str) -> dict[str, Step]:
    for line in lines:
        reader.read(line)
    return {step.name: step for step in reader.steps.values()}


def test_a_cached_step_ran_nothing(reader: Reader, events: Events) -> None:
    step = read(reader, CONTROLLER, "#6 sha256:914e", "#6 CACHED")["ansible"]
    assert (step.cached, step.seconds) == (True, 0.0)
    assert events == [("start", "ansible"), ("cached", "ansible")]


def test_a_step_whose_content_turns_out_to_be_gone_ran(reader: Reader) -> None:
    step = read(reader, CONTROLLER, "#6 CACHED", "", CONTROLLER, "#6 sha256:914e", "#6 DONE 1.9s")
    assert (step["ansible"].cached, step["ansible"].seconds) == (False, 1.9)


def test_a_layer_has_its_tasks_and_their_times(reader: Reader) -> None:
    lines = [
        "#7 0.500 TASK [base : Set limits] ****",
        "#7 0.750 changed: [localhost]",
        "#7 1.250 TASK [base : Set the locale] ****",
        "#7 2.500 PLAY RECAP ****",
        "#7 DONE 2.6s",
    ]
    step = read(reader, LAYER, *lines)["base"]
    assert step.marked
    assert [(task.name, task.seconds) for task in step.tasks] == [
        ("Set limits", 0.75),
        ("Set the locale", 1.25),
    ]


def test_the_failed_step_is_remembered_with_its_lines(reader: Reader) -> None:
    read(reader, LAYER, "#7 0.100 fatal: [localhost]: FAILED!", "#7 ERROR: exit code: 2")
    assert reader.failed is not None
    assert reader.failed.name == "base"
    assert list(reader.failed.lines) == ["fatal: [localhost]: FAILED!"]


def test_the_time_of_writing_the_image_is_kept(reader: Reader) -> None:
    read(reader, "#10 exporting to image", "#10 exporting layers done", "#10 DONE 0.4s")
    assert reader.exporting_seconds == pytest.approx(0.4)
