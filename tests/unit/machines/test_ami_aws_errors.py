"""What goes wrong with AWS: each one clear error, and none before it is needed."""

from pathlib import Path
from typing import Any, NoReturn

import botocore.client
import pytest
from aws_account import HERE, Account, refuse
from botocore import exceptions
from command_line import Run


def never(*_arguments: Any) -> NoReturn:
    """Nothing is to be asked of AWS."""
    raise AssertionError("AWS was asked")


def test_without_a_region_nothing_is_asked(
    account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account.client()
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", never)
    status, _, errors = run("list")
    assert (status, "no region is given" in errors, "--region" in errors) == (2, True, True)


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_may_come_from_the_environment(
    variable: str, account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ami = account.bake("eu-west-1")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv(variable, "eu-west-1")
    assert ami in run("list")[1]


def test_the_region_may_come_from_the_profile(
    account: Account, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ami = account.bake("eu-west-1")
    monkeypatch.delenv("AWS_REGION")
    (tmp_path / "config").write_text("[profile there]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "there")
    assert ami in run("list")[1]
    monkeypatch.setenv("AWS_PROFILE", "ther")
    status, _, errors = run("list")
    assert (status, "did you mean there?" in errors) == (2, True)


def test_of_an_unknown_region_the_one_meant_is_named_and_nothing_asked(
    account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account.client()
    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", never)
    status, _, errors = run("list", "--region", "eu-centrl-1")
    assert (status, f"did you mean {HERE}?" in errors) == (2, True)


@pytest.mark.parametrize("region", ["us-gov-west-1", "cn-north-1"])
def test_regions_of_other_partitions_are_known(region: str, account: Account, run: Run) -> None:
    assert account.client()
    assert run("list", "--region", region)[0] == 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ExpiredToken", "have expired"),
        ("RequestExpired", "have expired"),
        ("ExpiredTokenException", "have expired"),
        ("UnauthorizedOperation", "you may not call ec2:DescribeImages"),
        ("AccessDenied", "you may not call ec2:DescribeImages"),
        ("AuthFailure", "the credentials are not taken"),
        ("OptInRequired", "enable the region"),
        ("InternalError", "ec2:DescribeImages failed: as the test wants it (InternalError)"),
    ],
)
def test_a_refusal_of_aws_is_one_clear_error(
    code: str, said: str, account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account.client()
    refuse(monkeypatch, "describe_images", code)
    status, shown, errors = run("list")
    assert (status, shown, said in errors) == (3, "", True), errors
    assert f"AWS, region {HERE}: " in errors


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (exceptions.NoCredentialsError(), "there are no credentials"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), "no credentials"),
        (exceptions.UnauthorizedSSOTokenError(), "the credentials cannot be had"),
        (exceptions.TokenRetrievalError(provider="sso", error_msg="x"), "cannot be had"),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), "ec2 cannot be reached"),
        (
            exceptions.SSLError(endpoint_url="https://x", error=OSError("x")),
            "ec2 cannot be reached",
        ),
        (exceptions.ParamValidationError(report="x"), "ec2 cannot be asked"),
    ],
)
def test_what_fails_before_aws_answers_is_one_clear_error(
    error: Exception, said: str, account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account.client()

    def fail(*_arguments: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", fail)
    status, _, errors = run("list")
    assert (status, said in errors, "remedy" in errors) == (3, True, True), errors


def test_missing_credentials_are_found_missing(
    account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account.client()
    with monkeypatch.context() as patched:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.delenv(name)
        status, _, errors = run("list")
    assert (status, "there are no credentials" in errors) == (3, True)


def test_an_endpoint_that_is_not_there_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without moto, which would answer for any endpoint."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    status, _, errors = run("list", "--region", HERE)
    assert (status, "127.0.0.1:9" in errors) == (3, True)
    assert "AWS_ENDPOINT_URL" in errors
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    status, _, errors = run("list", "--region", HERE)
    assert (status, "AWS_ENDPOINT_URL: Invalid endpoint: nonsense" in errors) == (2, True)
