"""The nemo-launcher test case without NeMo: what is configured, written, cut and refused."""

import json
import os
import struct
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from types import SimpleNamespace
from typing import Any

import pytest
from case_modules import case_modules, demand_refused

from bakehouse import layout
from bakehouse.launch.case import load_case
from bakehouse.launch.job import prepare

FOLDER = layout.CONTAINERS / "nemo-launcher"
WEIGHTS = {
    "gpt3-126m": 125_226_240,
    "gpt3-5b": 5_047_365_632,
    "gpt3-40b": 39_088_316_416,
    "gpt3-175b": 174_604_259_328,
    "llama2-7b": 6_738_415_616,
    "llama2-70b": 68_976_648_192,
}
NODES = {"gpt3-175b": 16, "llama2-70b": 16}


@pytest.fixture
def modules() -> Iterator[SimpleNamespace]:
    with case_modules(FOLDER.name, "configuration", "framework", "indexed") as found:
        yield found


def loaded(modules: SimpleNamespace, name: str) -> Any:
    return modules.configuration.load(FOLDER / "configurations" / f"{name}.json")


def test_all_six_models_have_their_number_of_weights(modules: SimpleNamespace) -> None:
    case = load_case("nemo-launcher")
    assert {path.stem for path in (FOLDER / "configurations").glob("*.json")} == set(WEIGHTS)
    assert set(case.configurations) == set(WEIGHTS)
    for name, one in case.configurations.items():
        config = loaded(modules, name)
        assert config.architecture.parameters() == WEIGHTS[name]
        assert f"{WEIGHTS[name]} parameters" in one.about
        assert config.rows % (128 * config.tensor_parallel) == 0
        assert config.rows >= config.architecture.vocabulary


def test_the_description_cuts_as_the_configurations_do(modules: SimpleNamespace) -> None:
    for name, one in load_case("nemo-launcher").configurations.items():
        config = loaded(modules, name)
        assert one.splits.tensor == config.tensor_parallel
        assert one.splits.pipeline == config.pipeline_parallel
        assert one.nodes == NODES.get(name, 2)
        config.replicas(one.nodes * 8)


def test_nemo_is_told_the_shape_and_the_work(modules: SimpleNamespace) -> None:
    config = loaded(modules, "gpt3-175b")
    told = modules.configuration.settings(config, nodes=16, devices=8, data=Path("/data/text"))
    model, trainer = told["model"], told["trainer"]
    assert (trainer["num_nodes"], trainer["devices"], trainer["max_steps"]) == (16, 8, 5)
    assert (model["num_layers"], model["hidden_size"], model["num_attention_heads"]) == (
        96,
        12288,
        96,
    )
    assert (model["tensor_model_parallel_size"], model["pipeline_model_parallel_size"]) == (4, 8)
    assert model["virtual_pipeline_model_parallel_size"] == 12
    # NeMo fills the 259 tokens of bytes up to a multiple of this times tensor parallelism.
    assert model["make_vocab_size_divisible_by"] * 4 == 50_688
    files = model["data"]["data_prefix"]
    assert files["train"] == ["/data/text"]
    assert files["validation"] == ["/data/text-held-out"]
    assert "mock" not in json.dumps(told)


def test_llama_has_what_sets_it_apart(modules: SimpleNamespace) -> None:
    config = loaded(modules, "llama2-70b")
    model = modules.configuration.settings(config, nodes=16, devices=8, data=Path("/x"))["model"]
    assert (model["activation"], model["normalization"], model["bias"]) == (
        "fast-swiglu",
        "rmsnorm",
        False,
    )
    assert (model["num_query_groups"], model["position_embedding_type"]) == (8, "rope")
    gpt3 = loaded(modules, "gpt3-5b")
    told = modules.configuration.settings(gpt3, nodes=2, devices=8, data=Path("/x"))["model"]
    assert "activation" not in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tensor_paralel": 2}, "did you mean tensor_parallel?"),
        ({"tensor_parallel": 5}, "tensor_parallel 5 must divide groups 12"),
        ({"pipeline_parallel": 5}, "5 pieces of the pipeline must divide layers 12"),
        ({"virtual_pipeline": 0}, "virtual_pipeline is 0; it must be above 0"),
        ({"sequence_parallel": 1}, "sequence_parallel is 1; it must be bool"),
        ({"warmup_steps": 100}, "warmup_steps must be fewer than steps"),
    ],
)
def test_what_cannot_be_is_refused(
    changes: dict[str, Any], told: str, modules: SimpleNamespace, tmp_path: Path
) -> None:
    right = FOLDER / "configurations" / "gpt3-126m.json"
    demand_refused(modules, right, changes, told, tmp_path)


@pytest.mark.parametrize(
    ("name", "world", "told"),
    [
        ("gpt3-175b", 48, "takes 32 GPUs (tensor 4 x pipeline 8): start a multiple of 32"),
        ("gpt3-126m", 24, "24 replicas with micro-batches of 4 do not divide global_batch_size"),
    ],
)
def test_a_world_that_does_not_fit_is_refused(
    name: str, world: int, told: str, modules: SimpleNamespace
) -> None:
    with pytest.raises(modules.records.Stop) as caught:
        loaded(modules, name).replicas(world)
    assert told in caught.value.message


def test_the_text_is_written_as_an_indexed_dataset(
    modules: SimpleNamespace, tmp_path: Path
) -> None:
    documents = [b"bread", b"", "wéizen".encode()]
    modules.indexed.write(tmp_path / "text", documents)
    index = (tmp_path / "text.idx").read_bytes()
    magic, version, kind, sequences, ends = struct.unpack_from("<9sQBQQ", index)
    assert (magic, version, kind, sequences, ends) == (b"MMIDIDX\x00\x00", 1, 8, 3, 4)
    place = struct.calcsize("<9sQBQQ")
    assert struct.unpack_from("<3i3q4q", index, place) == (6, 1, 8, 0, 12, 14, 0, 1, 2, 3)
    assert len(index) == place + struct.calcsize("<3i3q4q")
    tokens = array("H", (tmp_path / "text.bin").read_bytes())
    assert tokens.tolist() == [*documents[0], 258, 258, *documents[2], 258]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.bin", "text.idx"]


def test_what_is_held_out_is_not_trained_on(modules: SimpleNamespace) -> None:
    text = "\n\n".join(topics[name] for name in sorted(topics)).encode()
    train, held_out = modules.indexed.split(text)
    assert train + held_out == text
    assert 0.09 < len(held_out) / len(text) < 0.11


@pytest.mark.parametrize(
    ("there", "version", "told"),
    [
        ({"nemo", "megatron"}, "1.23.0", "needs Apex, Transformer Engine: start from one of"),
        ({"nemo", "apex", "transformer_engine", "megatron"}, "2.7.3", "this test case is for 1.x"),
    ],
)
def test_without_nemo_1_it_says_what_is_missing(
    there: set[str], version: str, told: str, modules: SimpleNamespace
) -> None:
    with pytest.raises(modules.records.Stop) as caught:
        modules.framework.demand_framework(lambda name: name in there, lambda _: version)
    assert told in caught.value.message
    assert "nemo-run" in caught.value.message


def test_nemo_1_with_all_of_it_is_accepted(modules: SimpleNamespace) -> None:
    assert modules.framework.demand_framework(lambda _: True, lambda _: "1.23.0") == "1.23.0"


def test_elsewhere_the_program_says_what_it_needs(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(layout.SHARED), "WORLD_SIZE": "2"}
    done = subprocess.run(
        [sys.executable, FOLDER / "train.py", "--checkpoints", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 2, done.stderr
    assert "needs nemo_toolkit, Apex" in json.loads(done.stdout)["message"]


def test_jobs_take_what_upstream_had() -> None:
    job = prepare("nemo-launcher", "slurm", configuration="gpt3-175b")
    assert (job.nodes, job.processes_per_node, job.gpus) == (16, 8, 8)
    small = prepare("nemo-launcher", "kubernetes")
    assert (small.nodes, small.instance_type) == (2, "p4de.24xlarge")


def test_its_end_of_life_is_said_and_nothing_claims_to_have_run() -> None:
    case, readme = load_case("nemo-launcher"), (FOLDER / "README.md").read_text(encoding="utf-8")
    assert case.status.how == "unverified"
    assert "end of life" in readme
    assert "`nemo-run`" in readme
