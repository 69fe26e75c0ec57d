"""`bakehouse ami list`: only our AMIs, and what they are."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aws_account import HERE, THERE, Account
from command_line import Run

from bakehouse.machines import ami_tags

Told = Callable[..., Any]


def test_only_amis_with_our_tag_are_listed_the_newest_first(account: Account, told: Told) -> None:
    account.foreign()
    old, new = account.bake(days=9), account.bake(days=2)
    assert [each["ami"] for each in told("list")] == [new, old]


def test_a_row_says_all_that_is_asked_of_an_ami(account: Account, run: Run) -> None:
    ami = account.bake(days=2, CHECKS="failed", CHANNEL="next")
    account.moto().amis[ami].deprecation_time = datetime(2031, 2, 3, tzinfo=UTC)
    status, shown, _ = run("list")
    created = account.tags(ami)[ami_tags.CREATED][:16].replace("T", " ")
    row = next(line for line in shown.splitlines() if line.startswith(ami))
    expected = (
        HERE, "pcluster-gpu", "ubuntu-24.04/x86_64", "gpu-cuda13@5a5a5a5a5a5a", created,
        "failed", "next", "available, deprecated 2031-02-03", "15", "bake of 2 days ago",
    )  # fmt: skip
    assert status == 0
    assert [text for text in expected if text not in row] == []


def test_the_json_holds_tags_and_components(account: Account, told: Told) -> None:
    ami = account.bake()
    account.client().create_tags(
        Resources=[ami], Tags=[{"Key": ami_tags.component("nvidia_nccl"), "Value": "2.28.3"}]
    )
    found = told("list")[0]
    assert (found["build"], found["commit"], found["source_ami"]) == (
        "build-100", "c0ffee", "ami-00000000",
    )  # fmt: skip
    assert found["components"] == {"nvidia_nccl": "2.28.3"}
    assert (found["deprecated_from"], found["snapshots"]) == (None, account.snapshots(ami))


def test_several_regions_are_listed_each_once(account: Account, told: Told) -> None:
    here, there = account.bake(), account.bake(THERE)
    listed = told("list", "--region", HERE, "--region", THERE, "--region", HERE)
    assert {(each["ami"], each["region"]) for each in listed} == {(here, HERE), (there, THERE)}
    assert len(listed) == 2


def test_of_one_image_no_other_is_listed(account: Account, told: Told) -> None:
    account.bake()
    other = account.bake(IMAGE="eks-gpu")
    assert [each["ami"] for each in told("list", "--image", "eks-gpu")] == [other]


@pytest.mark.parametrize(
    ("wrong", "meant"), [("pcluster-gpuu", "pcluster-gpu"), ("cpu-machin", "cpu-machine")]
)
def test_of_an_unknown_image_the_one_meant_is_named(
    wrong: str, meant: str, account: Account, run: Run
) -> None:
    account.bake()
    status, _, errors = run("list", "--image", wrong)
    assert (status, f"did you mean {meant}?" in errors) == (2, True)


def test_an_image_without_amis_is_no_error(account: Account, run: Run) -> None:
    account.foreign()
    status, shown, errors = run("list", "--image", "cpu-machine")
    assert (status, shown) == (0, "")
    assert f"no AMI of cpu-machine in {HERE}" in errors
    assert json.loads(run("list", "--json")[1]) == []


def test_a_copy_is_as_old_as_its_bake(account: Account, told: Told) -> None:
    account.bake(days=5, CREATED="2026-01-02T03:04:05Z")
    assert told("list")[0]["created"] == "2026-01-02T03:04:05+00:00"


def test_a_date_that_is_none_is_not_believed(account: Account, told: Told) -> None:
    account.bake(days=5, CREATED="yesterday")
    age = datetime.now(UTC) - datetime.fromisoformat(told("list")[0]["created"])
    assert age.days == 5


def test_all_pages_are_read(account: Account, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto gives all in one page."""
    from moto.core.responses import ActionResult
    from moto.ec2.responses import EC2Response

    amis = {account.bake(days=days) for days in (1, 2, 3)}

    def one_a_page(response: EC2Response) -> ActionResult:
        number = int(response.params.get("NextToken", 0))
        kept = list(response.ec2_backend.amis.values())
        more = {"NextToken": str(number + 1)} if number + 1 < len(kept) else {}
        return ActionResult({"Images": [kept[number]], **more})

    monkeypatch.setattr(EC2Response, "describe_images", one_a_page)
    assert {each["ami"] for each in told("list")} == amis
