"""case.yml: what is accepted, and how a mistake is told."""

import shutil
from pathlib import Path

import pytest

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.images import lineage, load_images
from bakehouse.launch.case import Splits, case_names, load_case, parse
from bakehouse.launch.case_image import has_cuda, image_for
from bakehouse.stacks import documents
from bakehouse.stacks.stack import stack_names

CPU_DDP = layout.CONTAINERS / "cpu-ddp"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a real case, to be spoilt."""
    return Path(shutil.copytree(CPU_DDP, tmp_path / "cpu-ddp"))


def error_of(folder: Path, old: str, new: str) -> str:
    path = folder / "case.yml"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        parse(documents.load(path))
    return str(caught.value)


@pytest.mark.parametrize("name", case_names())
def test_every_case_loads_and_fits_the_list_of_images(name: str) -> None:
    case = load_case(name)
    assert case.stack in stack_names()
    image = load_images().get(name)
    if image is None:
        seen = case.status.how != "unverified"
        assert seen == (name in SEEN_WITHOUT_IMAGE), "what was seen needed an image"
        return
    assert (image.kind, image.case) == ("case", name)
    stacks = [below.stack for below in lineage(name) if below.stack]
    assert (case.base, case.stack) == (image.parent, stacks[-1])


SEEN_WITHOUT_IMAGE = {"paxml"}  # in a virtual environment, with a Python that no image has
WITHOUT_IMAGE_FOR_GPUS = {"picotron-upstream"}  # on GPUs it takes flash-attn, which has no wheel


@pytest.mark.parametrize("name", sorted({*case_names()} - WITHOUT_IMAGE_FOR_GPUS))
def test_what_is_meant_for_gpus_has_an_image_for_them(name: str) -> None:
    devices = {one.device for one in load_case(name).configurations.values()}
    image = image_for(name, gpus=True)
    if image is not None and "gpu" in devices:
        assert has_cuda(image), f"images.yml has no image of {name} over one for GPUs"


def test_there_is_a_case() -> None:
    assert "cpu-ddp" in case_names()


def test_an_unknown_case_suggests_a_near_one() -> None:
    with pytest.raises(InputError, match="there is no test case cpu-dpp") as caught:
        load_case("cpu-dpp")
    assert "did you mean cpu-ddp?" in str(caught.value)


def test_an_unknown_key_is_told_with_line_and_suggestion(folder: Path) -> None:
    error = error_of(folder, "  accuracy: 0.95\n  world", "  acuracy: 0.95\n  world")
    assert "case.yml:46: checks.acuracy: unknown key acuracy" in error
    assert "did you mean accuracy?" in error


def test_a_missing_key_is_told_with_its_section(folder: Path) -> None:
    error = error_of(folder, "  licence: CC BY 4.0\n", "")
    assert "dataset.licence: licence is missing" in error
    assert error.startswith(f"{folder}/case.yml:")


@pytest.mark.parametrize(
    ("old", "new", "where", "reason"),
    [
        ("  nodes: 2", '  nodes: "2"', "resources.nodes", "a whole number, not a text"),
        ("  nodes: 2", "  nodes: 0", "resources.nodes", "greater than or equal to 1"),
        ("  accuracy: 0.95\n  world", "  accuracy: 95\n  world", "checks.accuracy", "equal to 1"),
        ("  accuracy: 0.95\n  world", "  world", "checks", "give either accuracy or loss"),
        ("  resume: bit", "  loss: 2\n  resume: bit", "checks", "give either accuracy or loss"),
        ("entry_point:", "shared: [none]\nentry_point:", "shared.0", "no file none/__init__.py"),
        ("  how: native", "  how: perhaps", "status.how", "Input should be 'native'"),
        ("  real: true", "  real: maybe", "dataset.real", "true or false, not a text"),
        ("  backend: gloo", "  backend: mpi", "parallelism.backend", "'gloo', 'nccl' or 'neuron'"),
        (
            "launchers: [docker, slurm, kubernetes, batch]",
            "launchers: []",
            "launchers",
            "at least 1 item",
        ),
        ("entry_point: train.py", "entry_point: /bin/sh", "entry_point", "match pattern"),
        ("entry_point: train.py", "entry_point: ../x.py", "entry_point", "match pattern"),
        ("entry_point: train.py", "entry_point: x.py", "entry_point", "there is no file x.py"),
        ("name: cpu-ddp", "name: other", "name", "the folder is cpu-ddp"),
        ("  world_size: 4", "  world_size: 8", "case.yml:", "resources make 4 processes"),
        (
            "default_configuration: digits-cnn",
            "default_configuration: digits",
            "case.yml:",
            "default_configuration digits is not in configurations",
        ),
        (
            "    path: configurations/digits-mlp.json",
            "    path: configurations/none.json",
            "configurations.digits-mlp.path",
            "there is no file configurations/none.json",
        ),
    ],
)
def test_a_wrong_value_is_told_with_place_and_reason(
    folder: Path, old: str, new: str, where: str, reason: str
) -> None:
    error = error_of(folder, old, new)
    assert where in error
    assert reason in error


def test_what_a_copy_of_the_model_takes_must_divide_the_processes(folder: Path) -> None:
    about = "    about: two convolutions and one hidden layer, 300 steps\n"
    error = error_of(folder, about, f"{about}    splits: {{tensor: 3}}\n")
    assert "resources make 4 processes, but a copy of the model in digits-cnn takes 3" in error


def test_splits_are_of_one_copy_of_the_model() -> None:
    assert Splits(tensor=2, pipeline=3, context=5, expert=7).processes == 30


def test_promises_are_of_a_configuration() -> None:
    case = load_case("cpu-ddp")
    world = {"world_size": 4, "resume": "bit-identical"}
    assert case.promised("digits-cnn") == {"accuracy": 0.95, **world}
    assert case.promised("digits-mlp") == {"accuracy": 0.95, **world}
    silent = case.configurations["digits-mlp"].model_copy(update={"accuracy": None})
    changed = case.model_copy(
        update={"configurations": {**case.configurations, "digits-mlp": silent}}
    )
    assert changed.promised("digits-mlp") == world


def test_an_unknown_configuration_lists_those_that_exist() -> None:
    with pytest.raises(InputError, match="no configuration digit-cnn") as caught:
        load_case("cpu-ddp").configuration("digit-cnn")
    assert "did you mean digits-cnn?" in str(caught.value)


def test_no_configuration_means_the_default_one() -> None:
    assert load_case("cpu-ddp").configuration(None).path == "configurations/digits-cnn.json"
