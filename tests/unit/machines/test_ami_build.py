"""`bakehouse ami build` before Packer starts: what is baked from what, and what is refused."""

from datetime import UTC, datetime
from typing import Any

import pytest
from aws_account import HERE, Account, refuse
from command_line import Run

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.images import get_image
from bakehouse.machines import ami_bake, ami_source, aws

AMAZON = ("base-gpu", "--distribution", "amazon-2023")


def published(account: Account, architecture: str = "x86_64", version: str = "12") -> str:
    """An AMI of Amazon Linux 2023 as Amazon publishes it."""
    ami = account.foreign(f"al2023-ami-2023.{version}-kernel-6.12-{architecture}")
    found = account.moto().amis[ami]
    found.architecture, found.owner_id, found.owner_alias = architecture, "137112412989", "amazon"
    found.creation_date = datetime(2026, int(version), 1, tzinfo=UTC)
    return ami


@pytest.fixture
def orders(account: Account, monkeypatch: pytest.MonkeyPatch) -> list[ami_bake.Order]:
    """What would be baked, in the place of Packer."""
    assert account.client()
    taken: list[ami_bake.Order] = []

    def take(order: ami_bake.Order) -> ami_bake.Baked:
        taken.append(order)
        return ami_bake.Baked(amis={order.region: "ami-1"}, build="b", folder=layout.OUT, layers=[])

    monkeypatch.setattr(ami_bake, "bake", take)
    return taken


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_the_newest_ami_of_the_catalogue_is_taken(
    orders: list[ami_bake.Order], run: Run, account: Account, architecture: str
) -> None:
    newest = published(account, architecture, "11")
    for other in ("x86_64", "arm64"):
        published(account, other, "10")
    status, shown, errors = run("build", *AMAZON, "--architecture", architecture)
    assert status == 0, errors
    assert f"base-gpu: ami-1 in {HERE}" in shown
    assert [order.source.id for order in orders] == [newest]


def test_a_given_source_ami_is_taken(
    orders: list[ami_bake.Order], run: Run, account: Account
) -> None:
    published(account, version="12")
    given = published(account, version="11")
    assert run("build", *AMAZON, "--source-ami", given)[0] == 0
    assert orders[0].source.id == given


def test_without_a_name_the_parameter_is_asked(
    orders: list[ami_bake.Order],
    run: Run,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = published(account)
    asked: list[str] = []

    def parameter(_region: aws.Region, name: str) -> str:
        asked.append(name)
        return there

    monkeypatch.setattr(aws.Region, "parameter", parameter)
    assert run("build", "hyperpod-gpu")[0] == 0
    assert orders[0].source.id == there
    assert asked == [ami_source.wanted(get_image("hyperpod-gpu")).entry["parameter"]]


def test_parameters_are_those_of_systems_manager(account: Account) -> None:
    assert account.client()
    (region,) = aws.regions([HERE])
    entry = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    assert region.parameter(entry).startswith("ami-")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pcluster-gpo",), "did you mean pcluster-gpu?"),
        (("cpu",), "cpu is not made as an AMI"),
        ((), "which AMIs?"),
        (("base-gpu", "--all"), "which AMIs?"),
        (("base-gpu", "--distribution", "ubuntu-24.4"), "did you mean ubuntu-24.04?"),
        (("pcluster-neuron", "--architecture", "arm64"), "not made for the architecture arm64"),
        (("base-gpu", "--var", "spot"), "write NAME=VALUE"),
        (("base-gpu", "--var", "source_ami=ami-1"), "use --source-ami"),
        (("pcluster-gpu",), "there is no source AMI aws-parallelcluster-3."),
        (("base-gpu", "--source-ami", "ami-0123456789abcdef0"), "ami-0123456789abcdef0"),
        (("base-gpu", "--region", "eu-centrl-1"), f"did you mean {HERE}?"),
    ],
)
def test_wrong_input_is_one_clear_error_and_bakes_nothing(
    orders: list[ami_bake.Order], run: Run, arguments: tuple[str, ...], said: str
) -> None:
    status, _, errors = run("build", *arguments)
    assert (status, said in " ".join(errors.split())) == (2, True), errors
    assert errors.count("error:") == 1
    assert orders == []


def test_a_source_ami_of_another_architecture_is_refused(
    orders: list[ami_bake.Order], run: Run, account: Account
) -> None:
    other = published(account, "arm64")
    status, _, errors = run("build", *AMAZON, "--source-ami", other)
    assert status == 2
    assert "is of arm64, not x86_64" in " ".join(errors.split())
    assert "give --architecture arm64" in errors
    assert orders == []


def test_one_that_is_wrong_stops_all_before_the_first(
    orders: list[ami_bake.Order], run: Run
) -> None:
    assert run("build", "--all")[0] == 2
    assert run("build", "base-gpu", "cpu", "--distribution", "amazon-2023")[0] == 2
    assert orders == []


def test_expired_credentials_are_told(
    orders: list[ami_bake.Order], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "describe_images", "RequestExpired")
    status, _, errors = run("build", *AMAZON)
    assert (status, "the credentials have expired" in errors) == (3, True)
    assert orders == []


def test_every_image_of_ours_may_be_wanted() -> None:
    for image in ami_bake.chosen([], every=True):
        assert image.ami is not None
        for distribution in image.ami.distributions:
            for architecture in image.ami.instance_types:
                asked: Any = ami_source.wanted(image, distribution, architecture)
                assert asked.name or asked.entry["parameter"]
                assert "$" not in asked.name


def test_no_image_is_wanted_without_an_entry() -> None:
    with pytest.raises(InputError, match="not made as an AMI"):
        ami_source.wanted(get_image("cpu-machine"))
