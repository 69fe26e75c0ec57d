"""`bakehouse ami promote`: one AMI of a kind has a channel, and it passed its checks."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from aws_account import HERE, THERE, Account, refuse
from command_line import Run

from bakehouse.machines import aws

pytestmark = pytest.mark.lengthy

Told = Callable[..., Any]
FRIEND, OTHER = "123456789012", "210987654321"
BOTH = ("--region", HERE, "--region", THERE)


def test_nothing_changes_without_apply(account: Account, run: Run) -> None:
    account.bake(CHANNEL="stable")
    ami = account.bake(days=1)
    before = account.everything()
    status, shown, errors = run("promote", ami, "--share", FRIEND)
    assert (status, account.everything()) == (0, before)
    assert f"would: {HERE}: {ami}: set bakehouse:channel=stable" in shown
    assert "nothing changed; --apply does it" in errors


def test_the_channel_moves_from_the_one_that_had_it(account: Account, run: Run) -> None:
    old = account.bake(CHANNEL="stable")
    new = account.bake(days=1)
    status, _, errors = run("promote", new, "--apply")
    assert status == 0
    assert (account.channel(old), account.channel(new)) == (None, "stable")
    done = [line for line in errors.splitlines() if line.startswith("done: ")]
    assert [new in done[0], old in done[1]] == [True, True]


@pytest.mark.parametrize(
    "difference",
    [
        {"IMAGE": "eks-gpu"},
        {"DISTRIBUTION": "amazon-2023"},
        {"ARCHITECTURE": "arm64"},
        {"CHANNEL": "next"},
    ],
    ids=lambda difference: next(iter(difference)),
)
def test_an_ami_of_another_kind_or_channel_keeps_its_own(
    difference: dict[str, Any], account: Account, run: Run
) -> None:
    other = account.bake(**{"CHANNEL": "stable", **difference})
    status, _, errors = run("promote", account.bake(days=1), "--apply")
    assert (status, other in errors) == (0, False)
    assert account.channel(other) == difference.get("CHANNEL", "stable")


def test_a_foreign_ami_keeps_its_channel(account: Account, run: Run) -> None:
    foreign = account.foreign()
    account.tag([foreign], CHANNEL="stable", DISTRIBUTION="ubuntu-24.04", ARCHITECTURE="x86_64")
    assert run("promote", account.bake(), "--apply")[0] == 0
    assert account.channel(foreign) == "stable"


def test_an_ami_moves_from_one_channel_to_another(account: Account, run: Run) -> None:
    ami = account.bake(CHANNEL="next")
    assert "(was next)" in run("promote", ami)[1]
    assert run("promote", ami, "--apply")[0] == 0
    assert account.channel(ami) == "stable"


def test_a_second_time_there_is_nothing_to_do(account: Account, run: Run, told: Told) -> None:
    ami = account.bake()
    command = ("promote", ami, "--channel", "next", "--share", FRIEND)
    assert run(*command, "--apply")[0] == 0
    assert account.channel(ami) == "next"
    assert told(*command)["steps"] == []
    assert "nothing to do" in run(*command, "--apply")[2]


@pytest.mark.parametrize("checks", ["failed", "skipped", ""])
def test_without_passed_checks_it_is_refused(checks: str, account: Account, run: Run) -> None:
    ami = account.bake(CHECKS=checks)
    before = account.everything()
    status, _, errors = run("promote", ami, "--apply")
    assert (status, account.everything()) == (2, before)
    assert f"bakehouse:checks is {checks or 'not there'}" in errors


def test_force_overlooks_them_loudly(account: Account, run: Run) -> None:
    ami = account.bake(CHECKS="failed")
    status, _, errors = run("promote", ami, "--force", "--apply")
    assert (status, account.channel(ami)) == (0, "stable")
    assert "warning: " in errors
    assert "bakehouse:checks is failed; promoted all the same (--force)" in errors


def test_an_ami_that_cannot_be_launched_is_refused(account: Account, run: Run) -> None:
    ami = account.bake()
    account.client().disable_image(ImageId=ami)
    status, _, errors = run("promote", ami, "--force", "--apply")
    assert (status, "it is disabled" in errors, account.channel(ami)) == (2, True, None)


def test_a_share_is_of_the_ami_and_of_its_snapshots(account: Account, run: Run) -> None:
    ami = account.bake()
    (snapshot,) = account.snapshots(ami)
    shares = ("--share", FRIEND, "--share", OTHER)
    assert run("promote", ami, *shares, "--apply")[0] == 0
    assert account.launchers(ami) == [FRIEND, OTHER]
    assert account.copiers(snapshot) == [FRIEND, OTHER]


def test_only_what_is_not_shared_yet_is_told(account: Account, run: Run, told: Told) -> None:
    ami = account.bake()
    assert run("promote", ami, "--share", FRIEND, "--apply")[0] == 0
    steps = told("promote", ami, "--share", FRIEND, "--share", OTHER)["steps"]
    assert [each["target"] for each in steps] == [ami, *account.snapshots(ami)]
    assert all(OTHER in each["step"] and FRIEND not in each["step"] for each in steps)


def test_a_snapshot_without_our_tag_is_not_shared(account: Account, told: Told) -> None:
    ami = account.bake()
    (snapshot,) = account.snapshots(ami)
    account.client().delete_tags(Resources=[snapshot], Tags=[{"Key": "bakehouse:image"}])
    result = told("promote", ami, "--share", FRIEND, "--apply")
    assert (account.launchers(ami), account.copiers(snapshot)) == ([FRIEND], [])
    assert f"{snapshot} is not shared" in result["warnings"][0]


def test_of_an_encrypted_ami_it_says_that_the_key_is_needed_too(
    account: Account, told: Told
) -> None:
    ami = account.bake()
    device = account.moto().amis[ami].block_device_mappings[0]
    device["Ebs"]["Encrypted"] = True
    account.moto().amis[ami].devices = [device]
    assert "KMS key" in told("promote", ami, "--share", FRIEND)["warnings"][0]
    assert told("promote", ami)["warnings"] == []


def test_it_warns_of_a_deprecation(account: Account, run: Run, told: Told) -> None:
    ami = account.bake()
    assert told("promote", ami)["warnings"] == []
    assert run("deprecate", ami, "--on", "2035-01-31", "--apply")[0] == 0
    assert "deprecated from 2035-01-31 on" in told("promote", ami)["warnings"][0]


@pytest.mark.parametrize("number", ["1234", "1234-5678-9012", "12345678901x", "١٢٣٤٥٦٧٨٩٠١٢"])
def test_an_account_is_twelve_digits(number: str, account: Account, run: Run) -> None:
    ami = account.bake()
    before = account.everything()
    status, _, errors = run("promote", ami, "--share", FRIEND, "--share", number, "--apply")
    assert (status, f"--share {number}" in errors, account.everything()) == (2, True, before)


@pytest.mark.parametrize("channel", ["", "two words", "Stable", "-x"])
def test_a_channel_has_a_plain_name(channel: str, account: Account, run: Run) -> None:
    status, _, errors = run("promote", account.bake(), f"--channel={channel}", "--apply")
    assert (status, "not the name of a channel" in errors) == (2, True)


def test_copies_of_the_build_are_promoted_in_all_regions_given(account: Account, run: Run) -> None:
    before = account.bake(THERE, CHANNEL="stable")
    here, there = account.bake(days=1), account.bake(THERE, days=1)
    backwards = ("--region", THERE, "--region", HERE)  # the AMI is looked for in both
    assert run("promote", here, *backwards, "--share", FRIEND, "--apply")[0] == 0
    assert (account.channel(here), account.channel(there, THERE)) == ("stable", "stable")
    assert account.channel(before, THERE) is None
    assert account.launchers(there, THERE) == [FRIEND]


def test_a_region_that_is_not_given_stays_as_it_is(account: Account, run: Run) -> None:
    here, there = account.bake(days=1), account.bake(THERE, days=1)
    assert run("promote", here, "--apply")[0] == 0
    assert (account.channel(here), account.channel(there, THERE)) == ("stable", None)


@pytest.mark.parametrize(
    ("copies", "said"),
    [
        ([], "no AMI there is of build build-1"),
        ([{"BUILD": "build-1"}, {"BUILD": "build-1"}], "several AMIs are of build build-1"),
        ([{"BUILD": "build-1", "ARCHITECTURE": "arm64"}], "no AMI there is of build build-1"),
        ([{"BUILD": "build-1", "CHECKS": "failed"}], "its checks are not passed"),
    ],
    ids=["none", "two", "another architecture", "failed"],
)
def test_if_one_region_cannot_follow_none_is_changed(
    copies: list[dict[str, Any]], said: str, account: Account, run: Run
) -> None:
    here = account.bake(BUILD="build-1")
    for tags in copies:
        account.bake(THERE, **tags)
    before = account.everything()
    status, _, errors = run("promote", here, *BOTH, "--apply")
    assert (status, said in errors, account.everything()) == (2, True, before), errors


def test_without_a_build_copies_are_not_guessed(account: Account, run: Run) -> None:
    here = account.bake(BUILD="")
    account.bake(THERE, BUILD="")
    status, _, errors = run("promote", here, *BOTH, "--apply")
    assert (status, "no tag bakehouse:build" in errors) == (2, True)


@pytest.mark.parametrize("command", [("promote",), ("deprecate", "--in", "90d")])
def test_a_foreign_ami_is_refused(command: tuple[str, ...], account: Account, run: Run) -> None:
    foreign = account.foreign()
    before = account.everything()
    status, _, errors = run(command[0], foreign, *command[1:], "--apply")
    assert (status, account.everything()) == (2, before)
    assert "it is not Bakehouse's: it has no tag bakehouse:image" in errors


@pytest.mark.parametrize(
    ("ami", "said"),
    [
        ("ami-00000000000000000", "your account has no such AMI in eu-central-1"),
        ("pcluster-gpu", "this is not the id of an AMI"),
        ("ami-12345", "this is not the id of an AMI"),
    ],
)
def test_an_ami_that_is_not_there_is_named(ami: str, said: str, account: Account, run: Run) -> None:
    account.bake()
    status, _, errors = run("promote", ami, "--apply")
    assert (status, said in errors) == (2, True)


def test_an_ami_of_another_account_is_not_there(account: Account, run: Run) -> None:
    ami = account.bake()
    account.moto().amis[ami].owner_id = OTHER
    status, _, errors = run("promote", ami, "--apply")
    assert (status, "your account has no such AMI" in errors) == (2, True)


def test_a_failure_half_way_says_what_is_done_and_what_is_not(
    account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = account.bake(CHANNEL="stable"), account.bake(days=1)
    refuse(monkeypatch, "delete_tags", "UnauthorizedOperation")
    status, shown, errors = run("promote", new, "--share", FRIEND, "--apply", "--json")
    assert status == 3
    # Both have the channel now: the newer one is right, and the command may be given again.
    assert (account.channel(old), account.channel(new)) == ("stable", "stable")
    assert "you may not call ec2:DeleteTags" in errors
    assert f"  done: {HERE}: {new}: set bakehouse:channel=stable" in errors
    assert f"  not done: {HERE}: {old}: remove bakehouse:channel=stable" in errors
    assert [each["done"] for each in json.loads(shown)["steps"]] == [True, True, True, False]


def test_an_interrupt_half_way_says_the_same(
    account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = account.bake(CHANNEL="stable"), account.bake(days=1)

    def interrupted(*_arguments: str) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(aws.Region, "remove_tag", interrupted)
    status, _, errors = run("promote", new, "--apply")
    assert status == 130
    assert f"done: {HERE}: {new}: set bakehouse:channel=stable" in errors
    assert f"not known to be done: {HERE}: {old}: remove bakehouse:channel=stable" in errors


def test_given_again_it_goes_on_where_it_failed(
    account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = account.bake(CHANNEL="stable"), account.bake(days=1)
    with monkeypatch.context() as patched:
        refuse(patched, "delete_tags", "InternalError")
        assert run("promote", new, "--apply")[0] == 3
    assert run("promote", new, "--apply")[0] == 0
    assert (account.channel(old), account.channel(new)) == (None, "stable")
