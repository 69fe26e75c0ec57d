"""What is checked of a job before any scheduler hears of it."""

from typing import Any

import pytest
from tiny_cases import write_case

from bakehouse.errors import InputError
from bakehouse.launch.job import prepare
from bakehouse.launch.node_command import Place


def test_what_is_not_said_comes_from_the_case() -> None:
    job = prepare("cpu-ddp", "slurm")
    assert (job.nodes, job.processes_per_node, job.configuration) == (2, 2, "digits-cnn")
    assert (job.gpus, job.efa_interfaces, job.neuron_devices) == (0, 0, 0)
    assert job.name == "cpu-ddp-digits-cnn"


def test_an_instance_gives_a_process_to_each_accelerator() -> None:
    job = prepare("cpu-ddp", "slurm", instance="p4d.24xlarge")
    assert (job.processes_per_node, job.gpus, job.efa_interfaces) == (8, 8, 4)


def test_a_part_of_the_gpus_takes_its_share_of_the_interfaces() -> None:
    job = prepare("cpu-ddp", "slurm", instance="p5.48xlarge", processes_per_node=2)
    assert (job.gpus, job.efa_interfaces) == (2, 8)


def test_one_node_needs_no_interface_to_others() -> None:
    assert prepare("cpu-ddp", "slurm", instance="p4d.24xlarge", nodes=1).efa_interfaces == 0


@pytest.mark.parametrize(
    ("options", "image"),
    [
        ({}, "bakehouse/fsdp:latest"),
        ({"configuration": "llama3-1-8b"}, "bakehouse/fsdp-gpu:latest"),
        ({"instance": "p5.48xlarge"}, "bakehouse/fsdp-gpu:latest"),
        ({"instance": "c7i.48xlarge"}, "bakehouse/fsdp:latest"),
        ({"instance": "p5.48xlarge", "image": "mine:1"}, "mine:1"),
        ({"instance": "p5.48xlarge", "venv": "/fsx/venv"}, None),
    ],
)
def test_gpus_get_the_image_that_is_made_for_them(
    options: dict[str, Any], image: str | None
) -> None:
    job = prepare("fsdp", "slurm", **options)
    assert (job.image, job.image_lacks_cuda) == (image, False)


def test_a_case_without_an_image_for_gpus_is_known_as_such() -> None:
    lacking = prepare("cpu-ddp", "slurm", instance="p5.48xlarge")
    assert (lacking.image, lacking.image_lacks_cuda) == ("bakehouse/cpu-ddp:latest", True)
    assert not prepare("cpu-ddp", "slurm").image_lacks_cuda
    assert not prepare("cpu-ddp", "slurm", instance="p5.48xlarge", image="mine:1").image_lacks_cuda
    assert not prepare("cpu-ddp", "slurm", instance="p5.48xlarge", venv="/venv").image_lacks_cuda


def test_a_model_brings_the_nodes_and_the_instance_that_it_is_meant_for(meant: str) -> None:
    job = prepare(meant, "slurm")
    assert (job.nodes, job.instance_type, job.processes_per_node) == (4, "p5.48xlarge", 8)


def test_what_a_model_is_meant_for_says_nothing_about_this_machine(meant: str) -> None:
    job = prepare(meant, "docker")
    assert (job.nodes, job.instance_type, job.processes_per_node) == (1, None, 2)


def test_neuron_cores_take_whole_devices(neuron: str) -> None:
    job = prepare(neuron, "kubernetes", instance="trn1.32xlarge", processes_per_node=3)
    assert (job.neuron_devices, job.gpus) == (2, 0)
    assert prepare(neuron, "kubernetes", instance="trn1.32xlarge").processes_per_node == 32


@pytest.mark.parametrize(
    ("options", "reason", "remedy"),
    [
        ({"configuration": "digits"}, "no configuration digits", "digits-"),
        ({"instance": "p5.48xlarg"}, "no instance type p5.48xlarg", "did you mean p5.48xlarge"),
        (
            {"instance": "p5.48xlarge", "processes_per_node": 9},
            "9 processes are more than the 8 GPUs of p5.48xlarge",
            "at most 8",
        ),
        (
            {"instance": "g6.xlarge", "processes_per_node": 2},
            "2 processes are more than the 1 GPUs",
            "at most 1",
        ),
        (
            {"instance": "c7i.48xlarge", "processes_per_node": 193},
            "193 processes are more than the 192 processors",
            "--nodes",
        ),
        ({"checkpoints": "relative"}, "'relative' is no path", "absolute path"),
        ({"checkpoints": "/a:/b"}, "is no path", "without colons"),
        ({"venv": "venv"}, "'venv' is no path", "absolute path"),
        ({"job_name": "A job"}, "cannot be the name of a job", "small letters"),
        ({"secrets": ["A", "A=/b"]}, "a secret is named twice", "once"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], reason: str, remedy: str) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        prepare("cpu-ddp", "slurm", **options)
    assert remedy in refused.value.remedy


def test_an_unknown_case_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(InputError, match="no test case cpu-dpp") as refused:
        prepare("cpu-dpp", "slurm")
    assert refused.value.remedy == "did you mean cpu-ddp?"


def test_a_launcher_that_the_case_does_not_list_is_refused(meant: str) -> None:
    with pytest.raises(InputError, match=f"{meant} does not run on batch") as refused:
        prepare(meant, "batch")
    assert "slurm" in refused.value.remedy


def test_a_world_size_that_the_splits_do_not_divide_is_refused(meant: str) -> None:
    with pytest.raises(InputError, match=r"3 nodes x 1 processes are 3, but a copy .* takes 4"):
        prepare(meant, "slurm", nodes=3, processes_per_node=1, configuration="split")


def test_gpus_are_demanded_by_what_needs_them(meant: str) -> None:
    with pytest.raises(InputError, match=r"trains on GPUs, of which c7i\.48xlarge has none"):
        prepare(meant, "slurm", instance="c7i.48xlarge")


@pytest.mark.parametrize("instance", ["p5.48xlarge", "c7i.48xlarge"])
def test_neuron_cores_are_demanded_by_what_needs_them(neuron: str, instance: str) -> None:
    with pytest.raises(InputError, match=f"Neuron cores, of which {instance} has none"):
        prepare(neuron, "kubernetes", instance=instance)


def test_both_starters_take_the_place_of_a_node(meant: str, neuron: str) -> None:
    place = Place(nodes="4", node="3", address="10.0.0.1", port="29400", run="a.1")
    said = [
        "--nnodes=4",
        "--nproc-per-node=8",
        "--node-rank=3",
        "--master-addr=10.0.0.1",
        "--master-port=29400",
    ]
    torchrun = prepare(meant, "slurm").node_command(place, checkpoints="/kept")
    assert torchrun[:6] == ["torchrun", *said]
    assert "--rdzv-id=a.1" in torchrun
    assert "--checkpoints=/kept" in torchrun
    ranks = prepare(neuron, "kubernetes", instance="trn1.32xlarge", processes_per_node=8)
    command = ranks.node_command(place, checkpoints="/kept")
    assert command[:8] == ["python3", "-m", "training.start", *said]
    assert command[8] == "train.py"


@pytest.fixture
def meant(tiny_cases: Any) -> str:
    """A case with a model for four large machines."""
    write_case(
        tiny_cases,
        "meant",
        launchers=["docker", "slurm", "kubernetes"],
        configurations={
            "large": {
                "path": "a.json",
                "about": "a large one",
                "device": "gpu",
                "nodes": 4,
                "instance": "p5.48xlarge",
            },
            "split": {
                "path": "a.json",
                "about": "a split one",
                "splits": {"tensor": 2, "pipeline": 2},
            },
        },
    )
    return "meant"


@pytest.fixture
def neuron(tiny_cases: Any) -> str:
    """A case for Trainium, whose framework brings no starter."""
    write_case(
        tiny_cases,
        "trainium",
        start="ranks",
        launchers=["kubernetes"],
        configurations={"small": {"path": "a.json", "about": "small", "device": "neuron"}},
    )
    return "trainium"
