"""`bakehouse ami deprecate`: from a day on, which is to come."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_account import HERE, THERE, Account, refuse
from command_line import Run

from bakehouse.errors import InputError
from bakehouse.machines import ami_deprecation

Told = Callable[..., Any]
NOW = datetime(2026, 10, 5, 12, 34, 56, tzinfo=UTC)


def deprecated(account: Account, ami: str, region: str = HERE) -> str | None:
    """From when on, as EC2 says it."""
    return (
        account.client(region).describe_images(ImageIds=[ami])["Images"][0].get("DeprecationTime")
    )


def test_nothing_changes_without_apply(account: Account, run: Run) -> None:
    ami = account.bake()
    before = account.everything()
    status, shown, errors = run("deprecate", ami, "--on", "2035-01-31")
    assert (status, account.everything()) == (0, before)
    assert f"would: {HERE}: {ami}: deprecate from 2035-01-31 00:00 UTC on" in shown
    assert "--apply" in errors


def test_ec2_is_told_the_day(account: Account, run: Run, told: Told) -> None:
    ami = account.bake()
    assert run("deprecate", ami, "--on", "2035-01-31", "--apply")[0] == 0
    assert str(deprecated(account, ami)).startswith("2035-01-31T00:00:00")
    assert told("list")[0]["deprecated_from"] == "2035-01-31T00:00:00+00:00"
    assert told("deprecate", ami, "--on", "2035-01-31")["steps"] == []
    later = told("deprecate", ami, "--on", "2035-02-01")["steps"]
    assert "(was 2035-01-31 00:00)" in later[0]["step"]


def test_copies_are_deprecated_in_all_regions_given(account: Account, run: Run) -> None:
    here, there = account.bake(), account.bake(THERE)
    regions = ("--region", HERE, "--region", THERE)
    assert run("deprecate", here, "--in", "90d", *regions, "--apply")[0] == 0
    days = {str(deprecated(account, here)), str(deprecated(account, there, THERE))}
    assert len(days) == 1
    moment = datetime.fromisoformat(days.pop()).replace(tzinfo=UTC)
    assert moment - datetime.now(UTC) == pytest.approx(timedelta(days=90), abs=timedelta(minutes=2))


def test_it_warns_of_a_channel(account: Account, told: Told) -> None:
    plain, stable = account.bake(), account.bake(CHANNEL="stable")
    assert told("deprecate", plain, "--in", "90d")["warnings"] == []
    assert "channel stable" in told("deprecate", stable, "--in", "90d")["warnings"][0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--on", "2020-01-31"), "this has passed"),
        (("--in", "0d"), "this has passed"),
        (("--on", "31.1.2035"), "this is no date"),
        (("--on", "2035-02-30"), "this is no date"),
        (("--in", "soon"), "this is no span of time"),
        (("--in", "-5d"), "this is no span of time"),
        (("--in", "99999w"), "this is too far off"),
        (("--on", "9999-12-31"), "this is too far off"),
        (("--on", "0001-01-01T00:00+12:00"), "this is no date"),
        ((), "give either a day or a span"),
        (("--on", "2035-01-31", "--in", "90d"), "give either a day or a span"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_day_that_cannot_be_is_refused(
    options: tuple[str, ...], said: str, account: Account, run: Run
) -> None:
    ami = account.bake()
    before = account.everything()
    status, _, errors = run("deprecate", ami, *options, "--apply")
    assert (status, said in errors, account.everything()) == (2, True, before), errors


@pytest.mark.parametrize(
    ("on", "after", "expected"),
    [
        ("2026-10-06", None, "2026-10-06T00:00+00:00"),
        ("2026-10-05T15:00+02:00", None, "2026-10-05T13:00+00:00"),
        (None, "12h", "2026-10-06T00:34+00:00"),
        (None, "4w", "2026-11-02T12:34+00:00"),
    ],
)
def test_days_are_utc_and_moments_whole_minutes(
    on: str | None, after: str | None, expected: str
) -> None:
    assert ami_deprecation.moment(on, after, NOW) == datetime.fromisoformat(expected)


def test_today_has_begun_and_so_has_passed() -> None:
    with pytest.raises(InputError, match="this has passed"):
        ami_deprecation.moment("2026-10-05", None, NOW)


def test_a_failure_half_way_says_what_is_done_and_what_is_not(
    account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = account.bake(), account.bake(THERE)
    refuse(monkeypatch, "enable_image_deprecation", "UnauthorizedOperation", after=1)
    regions = ("--region", HERE, "--region", THERE)
    status, _, errors = run("deprecate", here, "--on", "2035-01-31", *regions, "--apply")
    assert status == 3
    assert f"  done: {HERE}: {here}: deprecate" in errors
    assert f"  not done: {THERE}: {there}: deprecate" in errors
    assert f"AWS, region {THERE}: you may not call ec2:EnableImageDeprecation" in errors
    assert deprecated(account, there, THERE) is None
