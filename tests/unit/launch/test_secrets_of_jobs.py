"""Secrets: names and places, never values."""

import pytest

from bakehouse.errors import InputError
from bakehouse.launch.case import Launcher
from bakehouse.launch.secret import Secret, parse_secret

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:hf"


@pytest.mark.parametrize(
    ("launcher", "text", "place"),
    [
        ("docker", "HF_TOKEN", None),
        ("slurm", "HF_TOKEN", None),
        ("slurm", "HF_TOKEN=/home/me/token", "/home/me/token"),
        ("kubernetes", "HF_TOKEN", None),
        ("kubernetes", "HF_TOKEN=hub/token", "hub/token"),
        ("batch", f"HF_TOKEN={ARN}", ARN),
    ],
)
def test_a_name_and_a_place_are_read(launcher: Launcher, text: str, place: str | None) -> None:
    assert parse_secret(text, launcher) == Secret(variable="HF_TOKEN", place=place)


@pytest.mark.parametrize(
    ("launcher", "text"),
    [
        ("docker", "HF_TOKEN=hf_value"),
        ("slurm", "HF_TOKEN=hf_value"),
        ("slurm", "HF_TOKEN="),
        ("kubernetes", "HF_TOKEN=hf_value"),
        ("batch", "HF_TOKEN=hf_value"),
        ("batch", "HF_TOKEN"),
        ("slurm", "hf_value"),
    ],
)
def test_a_value_is_refused_and_not_repeated(launcher: Launcher, text: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_secret(text, launcher)
    assert "hf_value" not in str(refused.value)
    assert refused.value.remedy
