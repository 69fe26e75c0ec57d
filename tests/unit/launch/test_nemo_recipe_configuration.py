"""The recipes of NeMo 2 in the nemo-run test case, without NeMo: what they say and refuse."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bakehouse import layout
from bakehouse.launch.case import Configuration, load_case
from bakehouse.launch.job import prepare

FOLDER = layout.CONTAINERS / "nemo-run"
OURS = ("recipe", "recipe_configuration")
RECIPES = {"llama31-180m", "llama3-8b", "llama3-70b", "llama31-405b", "mixtral-8x7b"}


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """recipe.py of the case, with `training` from beside it."""
    before = {name: sys.modules.pop(name) for name in _loaded()}
    for folder in (layout.SHARED, FOLDER):
        monkeypatch.syspath_prepend(str(folder))
    __import__("recipe")
    yield sys.modules["recipe"]
    for name in _loaded():
        del sys.modules[name]
    sys.modules.update(before)


def _loaded() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] in ("training", *OURS)]


def described() -> dict[str, Configuration]:
    """The configurations of recipes, as in case.yml."""
    configurations = load_case("nemo-run").configurations
    return {name: one for name, one in configurations.items() if name in RECIPES}


def changed(recipe: ModuleType, folder: Path, **changes: Any) -> Any:
    """Llama 3 70B with other values."""
    values = json.loads((FOLDER / "configurations/llama3-70b.json").read_text())
    path = folder / "x.json"
    path.write_text(json.dumps(values | changes))
    return recipe.load(path)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_description_cuts_as_the_configuration_does(name: str, recipe: ModuleType) -> None:
    config, one = recipe.load(FOLDER / "configurations" / f"{name}.json"), described()[name]
    assert one.device == "gpu"
    assert one.nodes is not None
    assert one.splits.tensor == config.tensor_parallel
    assert one.splits.pipeline == config.pipeline_parallel
    assert one.splits.context == config.context_parallel
    assert one.splits.expert == config.expert_parallel
    # As a launcher checks it, too.
    assert config.replicas(one.nodes * 8) * one.splits.processes == one.nodes * 8


@pytest.mark.usefixtures("recipe")
def test_only_recipes_are_taken_for_recipes() -> None:
    is_recipe = sys.modules["recipe_configuration"].is_recipe
    found = {path.stem for path in (FOLDER / "configurations").glob("*.json") if is_recipe(path)}
    assert found == RECIPES
    assert set(load_case("nemo-run").configurations) == {"tiny", *RECIPES}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tensor_paralel": 2}, "did you mean tensor_parallel?"),
        ({"precision": "fp64"}, "precision is 'fp64'; it must be bf16_mixed or"),
        ({"shape": 12}, "is no configuration"),
        ({"tensor_parallel": 0}, "tensor_parallel is 0; it must be above 0"),
        ({"warmup_steps": 200}, "warmup_steps must be fewer than steps"),
        ({"tensor_parallel": 1}, "sequence_parallel is of no use"),
        ({"pipeline_parallel": 1}, "virtual_pipeline takes pipeline_parallel above 1"),
        ({"context_parallel": 3}, "length 8192 is no multiple of 6"),
    ],
)
def test_what_cannot_be_is_refused(
    changes: dict[str, Any], told: str, recipe: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(recipe.Stop) as caught:
        changed(recipe, tmp_path, **changes)
    assert caught.value.status == 2
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("changes", "world", "told"),
    [
        ({}, 48, "tensor 4 x pipeline 8 x context 1 parallelism takes a multiple of 32 GPUs"),
        ({"context_parallel": 2}, 32, "takes a multiple of 64 GPUs, not 32"),
        ({"micro_batch_size": 3}, 64, "128 is no multiple of 2 replicas x micro-batches of 3"),
        ({"expert_parallel": 8}, 64, "expert_parallel 8 does not divide 2 replicas"),
    ],
)
def test_a_world_that_does_not_fit_is_refused(
    changes: dict[str, Any], world: int, told: str, recipe: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(recipe.Stop) as caught:
        changed(recipe, tmp_path, **changes).replicas(world)
    assert caught.value.status == 2
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("there", "version", "gpus", "told"),
    [
        ({"nemo", "megatron", "nemo_run"}, "2.7.3", 8, "lacks Transformer Engine: start it"),
        ({"transformer_engine"}, "2.7.3", 8, "lacks nemo_toolkit, Megatron-Core, NeMo-Run: "),
        ({"nemo", "megatron", "nemo_run", "transformer_engine"}, "2.7.3", 4, "8 GPUs of this node"),
        ({"nemo", "megatron", "nemo_run", "transformer_engine"}, "1.23.0", 8, "(here is 1.23.0)"),
    ],
)
def test_all_that_is_missing_is_said(
    there: set[str], version: str, gpus: int, told: str, recipe: ModuleType
) -> None:
    with pytest.raises(recipe.Stop) as caught:
        recipe.demand_nemo(
            {**recipe.NEEDED, **recipe.ON_GPUS},
            8,
            there=lambda name: name in there,
            version=lambda _: version,
            gpus_here=lambda: gpus,
        )
    assert caught.value.status == 2
    assert told in caught.value.message


def test_nemo_2_with_all_of_it_is_accepted(recipe: ModuleType) -> None:
    needed = {**recipe.NEEDED, **recipe.ON_GPUS}
    recipe.demand_nemo(
        needed, 8, there=lambda _: True, version=lambda _: "2.7.3", gpus_here=lambda: 8
    )


@pytest.mark.parametrize("program", ["launch.py", "recipe.py"])
def test_without_nemo_the_programs_say_what_they_need(program: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(layout.SHARED), "WORLD_SIZE": "8"}
    configuration = FOLDER / "configurations/llama3-8b.json"
    done = subprocess.run(
        [
            *(sys.executable, FOLDER / program),
            *("--configuration", configuration, "--checkpoints", tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 2, done.stderr
    assert "lacks nemo_toolkit, Megatron-Core, NeMo-Run" in done.stdout + done.stderr


def test_jobs_take_what_upstream_had() -> None:
    job = prepare("nemo-run", "slurm", configuration="llama31-405b")
    assert (job.nodes, job.processes_per_node, job.gpus) == (16, 8, 8)
    assert (job.instance_type, job.image) == ("p5.48xlarge", "bakehouse/nemo-run-gpu:latest")
