"""`bakehouse ami prune`: what goes, why the rest stays, and which snapshots go."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from aws_account import HERE, THERE, Account, refuse
from command_line import Run

pytestmark = pytest.mark.lengthy

Told = Callable[..., Any]
KEEP_1 = ("prune", "--keep", "1")


@pytest.fixture
def old(account: Account) -> str:
    """An AMI that nothing keeps; a newer one of its kind is there."""
    account.bake(days=50)
    return account.bake(days=200)


def reasons(result: Any) -> dict[str, list[str]]:
    """Why each is kept, by its id."""
    return {each["ami"]: each["kept"] for each in result["amis"]}


def test_nothing_changes_without_apply(account: Account, run: Run, old: str) -> None:
    before = account.everything()
    status, shown, errors = run(*KEEP_1)
    assert (status, account.everything()) == (0, before)
    assert f"would: {HERE}: {old}: deregister bake of 200 days ago" in shown
    assert f"would: {HERE}: {account.snapshots(old)[0]}: delete the snapshot, of {old}" in shown
    assert "--apply" in errors


def test_the_old_goes_with_its_snapshots_and_the_newest_stay(account: Account, run: Run) -> None:
    amis = [account.bake(days=days) for days in (40, 50, 60, 70, 80)]
    snapshots = [account.snapshots(ami)[0] for ami in amis]
    status, shown, _ = run("prune", "--apply")
    assert status == 0
    assert [account.exists(each) for each in amis] == [True, True, True, False, False]
    assert [account.exists(each) for each in snapshots] == [True, True, True, False, False]
    assert shown.count("one of the 3 newest") == 3
    assert run("prune", "--apply")[2].splitlines() == ["nothing to do"]


def test_foreign_amis_and_snapshots_are_never_touched(account: Account, run: Run, old: str) -> None:
    foreign = account.foreign(days=900)
    snapshots = account.snapshots(foreign)
    volume = account.client().create_volume(Size=1, AvailabilityZone=f"{HERE}a")["VolumeId"]
    loose = account.client().create_snapshot(VolumeId=volume)["SnapshotId"]
    assert run("prune", "--keep", "0", "--older-than", "0d", "--apply")[0] == 0
    left = [account.exists(each) for each in (foreign, *snapshots, loose, old)]
    assert left == [True, True, True, False]


@pytest.mark.parametrize(
    "difference",
    [{"IMAGE": "eks-gpu"}, {"DISTRIBUTION": "amazon-2023"}, {"ARCHITECTURE": "arm64"}],
    ids=lambda difference: next(iter(difference)),
)
def test_the_newest_are_counted_by_kind(
    difference: dict[str, Any], account: Account, told: Told
) -> None:
    one, other = account.bake(days=50), account.bake(days=200, **difference)
    assert reasons(told(*KEEP_1)) == {one: ["the newest"], other: ["the newest"]}


def test_the_newest_are_counted_by_region(account: Account, told: Told) -> None:
    here, there = account.bake(days=50), account.bake(THERE, days=200)
    result = told(*KEEP_1, "--region", HERE, "--region", THERE)
    assert reasons(result) == {here: ["the newest"], there: ["the newest"]}


def test_of_one_image_no_other_is_looked_at(account: Account, told: Told, old: str) -> None:
    other = account.bake(days=300, IMAGE="eks-gpu")
    account.bake(days=290, IMAGE="eks-gpu")
    result = told(*KEEP_1, "--image", "eks-gpu")
    assert old not in reasons(result)
    assert reasons(result)[other] == []


def test_one_that_cannot_be_launched_is_not_counted_as_newest(account: Account, told: Told) -> None:
    usable, disabled = account.bake(days=50), account.bake(days=45)
    account.client().disable_image(ImageId=disabled)
    assert reasons(told(*KEEP_1)) == {usable: ["the newest"], disabled: []}


def test_a_channel_keeps(account: Account, told: Told, old: str) -> None:
    account.tag([old], CHANNEL="next")
    assert reasons(told(*KEEP_1))[old] == ["channel next"]


def test_youth_keeps(told: Told, old: str) -> None:
    def at(span: str) -> list[str]:
        return reasons(told(*KEEP_1, "--older-than", span))[old]

    assert at("201d") == ["younger than 201 days"]
    assert at("29w") == ["younger than 203 days"]
    assert at("4850h") == ["younger than 4850 hours"]
    assert at("199d") == []


def test_a_copy_is_as_young_as_it_is_itself(account: Account, told: Told, old: str) -> None:
    account.moto().amis[old].creation_date = datetime.now(UTC) - timedelta(days=2)
    assert reasons(told(*KEEP_1))[old] == ["younger than 30 days"]


@pytest.mark.parametrize(
    ("act", "state"),
    [(None, "running"), ("stop_instances", "stopped"), ("terminate_instances", "")],
)
def test_an_instance_keeps_unless_it_is_terminated(
    act: str | None, state: str, account: Account, told: Told, old: str
) -> None:
    client: Any = account.client()
    started = client.run_instances(ImageId=old, MinCount=1, MaxCount=1)
    instance = started["Instances"][0]["InstanceId"]
    if act is not None:
        getattr(client, act)(InstanceIds=[instance])
    expected = [f"used by instance {instance} ({state})"] if state else []
    assert reasons(told(*KEEP_1))[old] == expected


def test_any_version_of_a_launch_template_keeps(account: Account, told: Told, old: str) -> None:
    client = account.client()
    client.create_launch_template(
        LaunchTemplateName="nodes", LaunchTemplateData={"InstanceType": "m5.large"}
    )
    for ami in (old, "ami-00000000"):
        client.create_launch_template_version(
            LaunchTemplateName="nodes", LaunchTemplateData={"ImageId": ami}
        )
    assert reasons(told(*KEEP_1))[old] == ["used by launch template nodes, version 2"]


def test_an_ami_that_a_template_names_by_a_parameter_is_asked_for(
    account: Account, told: Told, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moto resolves none; EC2 does where it is asked to."""
    from moto.ec2.responses import EC2Response

    plain = EC2Response.describe_launch_template_versions

    def resolved(response: EC2Response) -> Any:
        found: Any = plain(response)
        if response.params.get("ResolveAlias"):
            for version in found.result["LaunchTemplateVersions"]:
                version["LaunchTemplateData"] = {"ImageId": old}
        return found

    monkeypatch.setattr(EC2Response, "describe_launch_template_versions", resolved)
    account.client().create_launch_template(
        LaunchTemplateName="nodes", LaunchTemplateData={"ImageId": "resolve:ssm:/ami/stable"}
    )
    assert reasons(told(*KEEP_1))[old] == ["used by launch template nodes, version 1"]


def test_a_launch_configuration_keeps(account: Account, told: Told, old: str) -> None:
    assert account.exists(old)
    boto3.client("autoscaling", region_name=HERE).create_launch_configuration(
        LaunchConfigurationName="old-fleet", ImageId=old, InstanceType="m5.large"
    )
    assert reasons(told(*KEEP_1))[old] == ["used by launch configuration old-fleet"]


def test_many_users_are_told_as_a_number(account: Account, told: Told, old: str) -> None:
    account.client().run_instances(ImageId=old, MinCount=5, MaxCount=5)
    (reason,) = reasons(told(*KEEP_1))[old]
    assert (reason.count("instance i-"), "and 2 more" in reason) == (3, True)


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("state", "pending", ["still being made"]),
        ("deregistration_protection", "enabled-with-cooldown", ["protected from deregistration"]),
        ("deregistration_protection", "disabled", []),
        ("state", "failed", []),
    ],
)
def test_what_ec2_says_of_it_may_keep_it(
    attribute: str, value: str, expected: list[str], account: Account, told: Told, old: str
) -> None:
    setattr(account.moto().amis[old], attribute, value)
    assert reasons(told(*KEEP_1))[old] == expected


def test_all_reasons_are_told(account: Account, run: Run) -> None:
    ami = account.bake(days=1, CHANNEL="stable")
    shown = run("prune", "--keep", "1")[1]
    assert f"kept: {HERE}: {ami} (bake of 1 days ago): " in shown
    assert "the newest; channel stable; younger than 30 days" in shown


def test_a_snapshot_that_another_ami_needs_stays(account: Account, told: Told, old: str) -> None:
    (snapshot,) = account.snapshots(old)
    account.moto().snapshots[snapshot].from_ami = None  # so that moto would delete it
    foreign = account.foreign()
    account.moto().amis[foreign].devices = account.moto().amis[old].block_device_mappings
    result = told(*KEEP_1, "--apply")
    assert (account.exists(old), account.exists(snapshot)) == (False, True)
    verdict = next(each for each in result["amis"] if each["ami"] == old)
    assert verdict["snapshots"] == []
    assert verdict["snapshots_kept"] == {snapshot: f"{foreign} needs it"}


def test_a_snapshot_of_several_that_go_goes_with_the_last(
    account: Account, told: Told, old: str
) -> None:
    (snapshot,) = account.snapshots(old)
    second = account.bake(days=100)
    account.moto().amis[second].devices = account.moto().amis[old].block_device_mappings
    steps = told(*KEEP_1)["steps"]
    assert [each["target"] for each in steps] == [old, second, snapshot]


def test_a_snapshot_without_our_tag_stays(account: Account, run: Run, old: str) -> None:
    (snapshot,) = account.snapshots(old)
    account.client().delete_tags(Resources=[snapshot], Tags=[{"Key": "bakehouse:image"}])
    status, shown, _ = run(*KEEP_1, "--apply")
    assert (status, account.exists(old), account.exists(snapshot)) == (0, False, True)
    assert f"kept: {HERE}: {snapshot}, of {old}: no tag bakehouse:image" in shown


@pytest.mark.parametrize(
    "action", ["describe_instances", "describe_launch_templates", "describe_snapshots"]
)
def test_nothing_is_pruned_on_half_an_answer(
    action: str, account: Account, run: Run, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        refuse(patched, action, "UnauthorizedOperation")
        status, _, errors = run(*KEEP_1, "--apply")
    name = "".join(map(str.capitalize, action.split("_")))
    assert (status, account.exists(old)) == (3, True)
    assert f"you may not call ec2:{name}" in errors


@pytest.mark.filterwarnings("ignore:Exception.NotAllowedError")  # AWS's own list lacks it too
def test_without_knowing_launch_configurations_nothing_is_pruned(
    account: Account, run: Run, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.autoscaling.exceptions import AutoscalingClientError
    from moto.autoscaling.responses import AutoScalingResponse

    class NotAllowedError(AutoscalingClientError):
        code = "AccessDenied"

    def refused(_response: AutoScalingResponse) -> Any:
        raise NotAllowedError("no")

    monkeypatch.setattr(AutoScalingResponse, "describe_launch_configurations", refused)
    status, _, errors = run(*KEEP_1, "--apply")
    assert (status, account.exists(old)) == (3, True)
    assert "you may not call autoscaling:DescribeLaunchConfigurations" in errors


def test_a_failure_half_way_says_what_is_done_and_what_is_not(
    account: Account, run: Run, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = account.bake(days=100)
    (first_snapshot,), (second_snapshot,) = account.snapshots(old), account.snapshots(second)
    refuse(monkeypatch, "delete_snapshot", "InvalidSnapshot.InUse", after=1)
    status, _, errors = run(*KEEP_1, "--apply")
    assert status == 3
    done = [line.split(": ")[2] for line in errors.splitlines() if line.startswith("  done: ")]
    left = [line.split(": ")[2] for line in errors.splitlines() if line.startswith("  not done: ")]
    assert (done, left) == ([old, first_snapshot, second], [second_snapshot])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--older-than", "old"), "--older-than old: this is no span of time"),
        (("--keep", "-1"), "--keep"),
        (("--image", "pcluster-gp"), "did you mean pcluster-gpu?"),
    ],
)
def test_wrong_input_is_refused(
    options: tuple[str, str],
    said: str,
    account: Account,
    run: Run,
    old: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, _, errors = run("prune", *options, "--apply")
    assert (status, account.exists(old)) == (2, True)
    assert said in errors + capsys.readouterr().err
