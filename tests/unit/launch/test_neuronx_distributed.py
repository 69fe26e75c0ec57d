"""The neuronx-distributed test case without Trainium: what is cut, rendered and refused."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from case_modules import case_modules, demand_refused

from bakehouse import layout
from bakehouse.launch.case import load_case
from bakehouse.launch.job import prepare

FOLDER = layout.CONTAINERS / "neuronx-distributed"
PUBLISHED = {"llama3-8b": 8_030_261_248, "llama3-70b": 70_553_706_496}


@pytest.fixture
def modules() -> Iterator[SimpleNamespace]:
    with case_modules(FOLDER.name, "configuration", "framework") as found:
        yield found


def loaded(modules: SimpleNamespace, name: str) -> Any:
    return modules.configuration.load(FOLDER / "configurations" / f"{name}.json")


def test_weights_are_those_that_were_published(modules: SimpleNamespace) -> None:
    case = load_case("neuronx-distributed")
    assert set(case.configurations) == {*PUBLISHED, "tiny"}
    for name, one in case.configurations.items():
        weights = loaded(modules, name).architecture.parameters()
        assert weights == PUBLISHED.get(name, weights)
        assert f"{weights} parameters" in one.about


def test_the_description_cuts_as_the_configurations_do(modules: SimpleNamespace) -> None:
    for name, one in load_case("neuronx-distributed").configurations.items():
        config = loaded(modules, name)
        assert one.splits.tensor == config.tensor_parallel
        assert one.splits.pipeline == config.pipeline_parallel
        assert one.device == "neuron"


def test_what_upstream_reported_was_trained_so(modules: SimpleNamespace) -> None:
    config = loaded(modules, "llama3-8b")
    told = (config.tensor_parallel, config.length, config.accumulations, config.kv_multiplier)
    assert told == (32, 8192, 16, 4)
    assert (config.sequence_parallel, config.zero_1, config.flash_attention) == (True, True, True)
    assert config.activation_checkpoints == "selective"
    large = loaded(modules, "llama3-70b")
    assert (large.replicas(512), large.global_batch_size(512)) == (2, 1024)


def test_nxd_is_told_all_of_it(modules: SimpleNamespace) -> None:
    told = modules.configuration.settings(loaded(modules, "llama3-70b"))
    assert (told["tensor_parallel_size"], told["pipeline_parallel_size"]) == (32, 8)
    assert told["sequence_parallel"] is True
    assert told["optimizer_config"]["zero_one_enabled"] is True
    assert told["pipeline_config"]["num_microbatches"] == 512
    assert "pipeline_config" not in modules.configuration.settings(loaded(modules, "llama3-8b"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tensor_paralel": 2}, "did you mean tensor_parallel?"),
        ({"tensor_parallel": 3}, "tensor_parallel 3 must divide heads 4"),
        ({"pipeline_parallel": 3}, "pipeline_parallel 3 must divide layers 2"),
        ({"length": 129}, "must divide length 129"),
        ({"zero_1": 1}, "zero_1 is 1; it must be bool"),
        ({"activation_checkpoints": "some"}, "must be one of none, selective, full"),
        ({"warmup_steps": 200}, "warmup_steps must be fewer than steps"),
        ({"steps": 0}, "steps is 0; it must be above 0"),
    ],
)
def test_what_cannot_be_is_refused(
    changes: dict[str, Any], told: str, modules: SimpleNamespace, tmp_path: Path
) -> None:
    right = FOLDER / "configurations" / "tiny.json"
    demand_refused(modules, right, changes, told, tmp_path)


def test_a_world_that_holds_no_whole_copy_is_refused(modules: SimpleNamespace) -> None:
    for world in (0, 32, 300):
        with pytest.raises(modules.records.Stop) as caught:
            loaded(modules, "llama3-70b").replicas(world)
        assert "takes 256 Neuron cores (tensor 32 x pipeline 8)" in caught.value.message


def installed(sizes: dict[str, int]) -> Any:
    """Stands in for importlib.metadata: distributions with one file of a size."""

    def find(name: str) -> Any:
        if name not in sizes:
            raise metadata.PackageNotFoundError(name)
        return SimpleNamespace(version="0.1", files=[SimpleNamespace(size=sizes[name])])

    return find


def test_placeholders_of_the_public_index_are_refused(modules: SimpleNamespace) -> None:
    real = dict.fromkeys(modules.framework.PACKAGES, 5_000_000)
    assert set(modules.framework.demand_packages(installed(real))) == set(real)
    # As large as neuronx_distributed 0.1 of the public index.
    with pytest.raises(modules.records.Stop) as caught:
        modules.framework.demand_packages(installed(real | {"neuronx-distributed": 7004}))
    assert "placeholders of the public index are installed: neuronx-distributed" in (
        caught.value.message
    )


def test_a_machine_without_devices_is_refused(modules: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(modules.records.Stop) as caught:
        modules.framework.demand_devices(tmp_path)
    assert "start on a trn1 or trn2 instance" in caught.value.message
    for number in range(16):
        (tmp_path / f"neuron{number}").touch()
    assert modules.framework.demand_devices(tmp_path) == 16


@pytest.mark.parametrize(
    ("world", "told"),
    [("2", "trains on Trainium alone, and needs torch-neuronx"), ("3", "start a multiple of 2")],
)
def test_elsewhere_the_program_says_what_it_needs(world: str, told: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(layout.SHARED), "WORLD_SIZE": world}
    done = subprocess.run(
        [sys.executable, FOLDER / "train.py", "--checkpoints", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 2, done.stderr
    record = json.loads(done.stdout)
    assert (record["event"], record["status"]) == ("error", 2)
    assert told in record["message"]


def test_jobs_take_all_cores_devices_and_interfaces() -> None:
    job = prepare("neuronx-distributed", "kubernetes", configuration="llama3-70b")
    assert (job.nodes, job.processes_per_node, job.instance_type) == (16, 32, "trn1.32xlarge")
    assert (job.neuron_devices, job.efa_interfaces, job.gpus) == (16, 8, 0)
    single = prepare("neuronx-distributed", "slurm", configuration="llama3-8b")
    assert (single.nodes, single.processes_per_node) == (1, 32)


def test_nothing_claims_to_have_run() -> None:
    case = load_case("neuronx-distributed")
    assert case.status.how == "unverified"
    assert "docker" not in case.launchers
    assert "Not verified" in (FOLDER / "README.md").read_text(encoding="utf-8")
