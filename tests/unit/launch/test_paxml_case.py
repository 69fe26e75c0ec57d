"""The paxml test case without PaxML: what is configured, refused, and rendered."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from case_modules import case_modules, demand_refused

from bakehouse import layout
from bakehouse.launch.case import load_case
from bakehouse.launch.job import prepare
from bakehouse.stacks.records import PythonRecord
from bakehouse.stacks.stack import load_stack

FOLDER = layout.CONTAINERS / "paxml"
TINY = FOLDER / "configurations/tiny.json"


@pytest.fixture
def modules() -> Iterator[SimpleNamespace]:
    with case_modules(FOLDER.name, "configuration") as found:
        yield found


def test_every_configuration_is_described_and_possible(modules: SimpleNamespace) -> None:
    case = load_case("paxml")
    assert {path.stem for path in TINY.parent.iterdir()} == set(case.configurations)
    for name, one in case.configurations.items():
        config = modules.configuration.load(FOLDER / one.path)
        assert f"{config.layers} layers" in one.about or name == "tiny"
        processes = 8 * one.nodes if one.nodes else case.checks.world_size
        assert config.global_batch_size % processes == 0


def test_the_large_one_has_the_shape_that_it_is_named_after() -> None:
    found = json.loads((TINY.parent / "lm-2b.json").read_text())
    per_layer = 4 * found["width"] ** 2 + 2 * found["width"] * found["hidden"]
    weights = found["layers"] * per_layer + found["vocabulary"] * found["width"]
    assert 2.0e9 < weights < 2.2e9
    assert (found["steps"], found["length"]) == (300, 1024)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vocabulary": 100}, "vocabulary must be at least 256"),
        ({"head": 48}, "width must be a multiple of head"),
        ({"decay_steps": 10}, "decay_steps must be more than warmup_steps"),
        ({"compute": "float16"}, "float32 or bfloat16"),
        ({"heads": 4}, "did you mean head?"),
    ],
)
def test_an_impossible_configuration_is_refused(
    modules: SimpleNamespace, changes: dict[str, object], told: str, tmp_path: Path
) -> None:
    demand_refused(modules, TINY, changes, told, tmp_path)


def test_all_of_its_packages_have_digests_and_jax_goes_with_its_library() -> None:
    record = load_stack("paxml").records["paxml_release"]
    assert isinstance(record, PythonRecord)
    assert not record.without_digests
    versions = {requirement.name: requirement.version for requirement in record.requirements}
    assert versions["jaxlib"] == versions["jax"]
    assert versions["praxis"] == versions["paxml"] == record.version


def test_a_job_starts_a_process_for_each_rank() -> None:
    job = prepare("paxml", "slurm", image="registry/paxml", configuration="lm-2b")
    assert job.case.start == "ranks"
