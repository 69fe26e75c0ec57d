"""The tags of AMIs: what a bake writes, and that it fits."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bakehouse.machines import ami_tags
from bakehouse.stacks.stack import load_stack, stack_names


@pytest.mark.parametrize("stack", stack_names())
def test_all_components_of_a_stack_fit_on_one_ami(stack: str) -> None:
    others = [*ami_tags.AT_BUILD, ami_tags.CHANNEL, "Name"]
    assert len(load_stack(stack).records) + len(others) <= ami_tags.MOST


def test_components_are_found_by_name() -> None:
    tags = {
        ami_tags.component("nccl"): "2.28",
        ami_tags.component("efa"): "1",
        ami_tags.IMAGE: "x",
    }
    assert list(ami_tags.components(tags).items()) == [("efa", "1"), ("nccl", "2.28")]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-10-05T12:00:00Z", datetime(2026, 10, 5, 12, tzinfo=UTC)),
        ("2026-10-05T12:00:00", datetime(2026, 10, 5, 12, tzinfo=UTC)),
        ("2026-10-05T12:00+02:00", datetime(2026, 10, 5, 12, tzinfo=timezone(timedelta(hours=2)))),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_date_is_utc_unless_it_says_otherwise(text: str, moment: datetime | None) -> None:
    assert ami_tags.created({ami_tags.CREATED: text}) == moment
    assert ami_tags.created({}) is None
