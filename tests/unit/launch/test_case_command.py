"""`bakehouse case`, and images by the name of their case."""

import json

import pytest
from typer.testing import CliRunner

from bakehouse import cli
from bakehouse.errors import InputError
from bakehouse.images import get_image, lineage, load_images
from bakehouse.launch.case import case_names, load_case


def said(*arguments: str) -> str:
    done = CliRunner().invoke(cli.application, ["case", *arguments])
    assert done.exception is None, done.output
    return done.output


def test_the_list_has_every_case_and_what_was_seen_of_it() -> None:
    listed = json.loads(said("list", "--json"))
    assert [case["name"] for case in listed] == case_names()
    text = said("list")
    for case in listed:
        row = next(line for line in text.splitlines() if f" {case['name']} " in line)
        assert case["status"]["how"] in row


def test_a_case_is_shown_with_its_configurations() -> None:
    text = said("show", "cpu-ddp")
    assert load_case("cpu-ddp").title in text
    for name in load_case("cpu-ddp").configurations:
        assert name in text
    assert "(default)" in text
    assert json.loads(said("show", "cpu-ddp", "--json"))["name"] == "cpu-ddp"


def test_an_unknown_case_is_told() -> None:
    done = CliRunner().invoke(cli.application, ["case", "show", "cpu-dpd"])
    assert isinstance(done.exception, InputError)
    assert "did you mean cpu-ddp?" in str(done.exception)


@pytest.mark.parametrize("case", {i.case for i in load_images().values() if i.case})
def test_a_case_finds_its_image(case: str) -> None:
    image = get_image(f"case/{case}")
    assert (image.kind, image.case) == ("case", case)
    assert image == next(i for i in load_images().values() if i.case == case), "the first one"
    assert lineage(f"case/{case}")[-1] == image


@pytest.mark.parametrize("name", ["case/cpu-dpd", "case/", "case/cpu", "image/cpu"])
def test_what_is_no_case_finds_no_image(name: str) -> None:
    with pytest.raises(InputError, match="no image") as caught:
        get_image(name)
    assert caught.value.remedy
