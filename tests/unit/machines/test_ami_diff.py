"""`bakehouse ami diff`: what differs between two AMIs, wherever they are."""

from collections.abc import Callable
from typing import Any

import pytest
from aws_account import HERE, THERE, Account
from command_line import Run

from bakehouse.machines import ami_tags

Told = Callable[..., Any]


@pytest.fixture
def pair(account: Account) -> tuple[str, str]:
    """Two AMIs of the same build."""
    return account.bake(BUILD="b"), account.bake(BUILD="b")


def changed(account: Account, ami: str, **ebs: Any) -> None:
    """Give an AMI another block device."""
    device = account.moto().amis[ami].block_device_mappings[0]
    device["Ebs"].update(ebs)
    account.moto().amis[ami].devices = [device]


def test_two_of_one_build_do_not_differ(pair: tuple[str, str], run: Run, told: Told) -> None:
    assert run("diff", *pair)[:2] == (0, "no difference\n")
    assert told("diff", *pair) == {}


def test_components_are_compared_by_version(
    account: Account, pair: tuple[str, str], run: Run, told: Told
) -> None:
    for ami, versions in zip(pair, ({"nccl": "2.27", "efa": "1"}, {"nccl": "2.28"}), strict=True):
        tags: Any = [{"Key": ami_tags.component(k), "Value": v} for k, v in versions.items()]
        account.client().create_tags(Resources=[ami], Tags=tags)
    assert told("diff", *pair) == {"components": {"efa": ["1", None], "nccl": ["2.27", "2.28"]}}
    status, shown, _ = run("diff", *pair)
    rows = [line.split() for line in shown.splitlines()]
    assert (status, ["nccl", "2.27", "2.28"] in rows, ["efa", "1", "–"] in rows) == (0, True, True)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("IMAGE", "image"),
        ("BUILD", "build"),
        ("STACK", "stack"),
        ("COMMIT", "commit"),
        ("SOURCE_AMI", "source AMI"),
        ("DISTRIBUTION", "distribution"),
        ("CHECKS", "checks"),
    ],
)
def test_what_the_bake_said_is_compared(
    tag: str, name: str, account: Account, pair: tuple[str, str], told: Told
) -> None:
    account.tag([pair[0]], **{tag: "before"})
    account.tag([pair[1]], **{tag: "after"})
    assert told("diff", *pair) == {"build": {name: ["before", "after"]}}


@pytest.mark.parametrize(
    ("ebs", "expected"),
    [
        ({"VolumeType": "gp3"}, {"type": ["standard", "gp3"]}),
        ({"Iops": 3000}, {"iops": [None, "3000"]}),
        ({"Throughput": 250}, {"throughput": [None, "250"]}),
        ({"Encrypted": True}, {"encrypted": ["no", "yes"]}),
        ({"SnapshotId": "snap-00000000"}, {}),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_block_devices_are_compared(
    ebs: dict[str, Any],
    expected: dict[str, Any],
    account: Account,
    pair: tuple[str, str],
    told: Told,
) -> None:
    changed(account, pair[1], **ebs)
    devices = {f"/dev/sda1: {name}": values for name, values in expected.items()}
    assert told("diff", *pair) == ({"block devices": devices} if devices else {})


def test_sizes_are_compared(account: Account, pair: tuple[str, str], told: Told) -> None:
    changed(account, pair[1], VolumeSize=30)
    found = told("diff", *pair)
    assert found["size"] == {"GiB": ["15", "30"]}
    assert found["block devices"] == {"/dev/sda1: GiB": ["15", "30"]}


def test_an_instance_store_has_no_volume(
    account: Account, pair: tuple[str, str], told: Told
) -> None:
    devices = account.moto().amis[pair[1]].block_device_mappings
    stores = [{"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}]
    account.moto().amis[pair[1]].devices = [*devices, *stores]
    assert told("diff", *pair) == {}


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("imds_support", "v2.0", {"IMDS": ["v1 and v2", "v2 only"]}),
        ("boot_mode", "legacy-bios", {"boot mode": ["uefi", "legacy-bios"]}),
        ("ena_support", True, {"ENA": ["no", "yes"]}),
        ("tpm_support", "v2.0", {"TPM": ["none", "v2.0"]}),
        ("architecture", "arm64", {"architecture": ["", "arm64"]}),
    ],
)
def test_the_machine_is_compared(
    attribute: str,
    value: Any,
    expected: dict[str, Any],
    account: Account,
    pair: tuple[str, str],
    told: Told,
) -> None:
    setattr(account.moto().amis[pair[1]], attribute, value)
    assert told("diff", *pair) == {"machine": expected}


def test_the_two_may_be_in_different_regions(account: Account, told: Told) -> None:
    here, there = account.bake(), account.bake(THERE)
    assert told("diff", here, there, "--region", HERE, "--region", THERE) == {}


def test_one_that_is_not_there_is_named(account: Account, run: Run) -> None:
    status, _, errors = run("diff", account.bake(), "ami-00000000")
    assert (status, "ami-00000000: your account has no such AMI" in errors) == (2, True)
