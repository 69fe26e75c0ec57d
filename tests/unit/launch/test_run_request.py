"""What is checked before a run starts."""

from types import SimpleNamespace
from typing import Any

import pytest

from bakehouse import engine, layout
from bakehouse.errors import InputError, RunError
from bakehouse.launch import request
from bakehouse.launch.case import Splits, load_case
from bakehouse.launch.request import prepare

FOUND = SimpleNamespace(id="sha256:1", attrs={"Config": {"User": "10001:10001"}})


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The engine's images."""
    there: dict[str, Any] = {"bakehouse/cpu-ddp:latest": FOUND}
    monkeypatch.setattr(engine, "image", there.get)
    return there


@pytest.mark.usefixtures("images")
def test_what_is_not_said_comes_from_the_case() -> None:
    request = prepare("cpu-ddp")
    assert (request.nodes, request.processes_per_node) == (2, 2)
    assert (request.image, request.image_id) == ("bakehouse/cpu-ddp:latest", "sha256:1")
    assert request.configuration == "digits-cnn"
    assert request.output == layout.OUT / "cpu-ddp" / "run"


@pytest.mark.usefixtures("images")
def test_the_expected_number_of_processes_is_that_of_this_run() -> None:
    request = prepare("cpu-ddp", nodes=3, processes_per_node=1)
    assert request.expected == {"accuracy": 0.95, "world_size": 3, "resume": "bit-identical"}


def test_a_missing_image_says_how_to_build_it(images: dict[str, Any]) -> None:
    images.clear()
    with pytest.raises(RunError, match="no image bakehouse/cpu-ddp:latest") as caught:
        prepare("cpu-ddp")
    assert "run `bakehouse build cpu-ddp`" in str(caught.value)
    assert caught.value.exit_status == 6


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kill_node": 1}, "belong together"),
        ({"kill_after_step": 60}, "belong together"),
        ({"kill_node": 2, "kill_after_step": 60}, "there is no node 2 in a run of 2 nodes"),
        ({"configuration": "digits"}, "no configuration digits"),
        ({"secrets": ["NOT_SET_ANYWHERE"]}, "NOT_SET_ANYWHERE is not in this environment"),
        ({"secrets": ["HF_TOKEN=hf_value"]}, "does not say where its value is"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        prepare("cpu-ddp", **options)


@pytest.mark.usefixtures("images")
def test_an_unknown_case_is_refused() -> None:
    with pytest.raises(InputError, match="there is no test case cpu"):
        prepare("cpu")


@pytest.mark.usefixtures("images")
def test_a_world_size_that_the_splits_do_not_divide_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = load_case("cpu-ddp")
    split = case.configurations["digits-mlp"].model_copy(update={"splits": Splits(tensor=2)})
    cut = case.model_copy(update={"configurations": {**case.configurations, "split": split}})
    monkeypatch.setattr(request, "load_case", lambda _: cut)
    assert prepare("cpu-ddp", configuration="split", nodes=2, processes_per_node=1)
    with pytest.raises(InputError, match=r"are 3, but a copy of split takes 2 processes"):
        prepare("cpu-ddp", configuration="split", nodes=3, processes_per_node=1)


@pytest.mark.usefixtures("images")
def test_secrets_are_remembered_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_value")
    found = prepare("cpu-ddp", secrets=["HF_TOKEN"])
    assert found.secrets == ("HF_TOKEN",)
    assert "hf_value" not in repr(found)
