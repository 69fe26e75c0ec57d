"""Runs on the GPUs of this machine: who gets which, and what is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bakehouse import engine
from bakehouse.errors import InputError
from bakehouse.launch import docker_launcher, docker_script, job, local_gpus, request
from bakehouse.launch.request import prepare

USUAL = (2, 2)
GPU_MODEL = "llama3-2-1b"


@pytest.fixture
def four_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(local_gpus, "DEVICES", tmp_path)


@pytest.fixture
def no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_gpus, "DEVICES", tmp_path)


@pytest.fixture(autouse=True)
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(id="sha256:1", attrs={"Config": {"User": "10001:10001"}})
    monkeypatch.setattr(engine, "image", lambda _: found)


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("asked", "given"),
    [((None, None), (1, 4)), ((2, None), (2, 2)), ((None, 1), (1, 1)), ((4, 1), (4, 1))],
)
def test_every_process_gets_a_gpu(
    asked: tuple[int | None, int | None], given: tuple[int, int]
) -> None:
    assert local_gpus.shape("gpu", *asked, USUAL) == given


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize("asked", [(1, 5), (2, 3), (5, None)])
def test_more_processes_than_gpus_are_refused(asked: tuple[int, int | None]) -> None:
    with pytest.raises(InputError, match="more than the 4 GPUs of this machine"):
        local_gpus.shape("gpu", *asked, USUAL)


@pytest.mark.usefixtures("no_gpus")
def test_without_gpus_only_what_trains_on_processors_runs() -> None:
    assert local_gpus.shape("cpu", None, 4, USUAL) == (2, 4)
    with pytest.raises(InputError, match="trains on GPUs, of which this machine has none"):
        prepare("fsdp", configuration=GPU_MODEL)


@pytest.mark.usefixtures("four_gpus")
def test_neuron_is_left_to_schedulers() -> None:
    with pytest.raises(InputError, match="trains on Neuron cores"):
        local_gpus.shape("neuron", None, None, USUAL)


@pytest.mark.usefixtures("four_gpus")
def test_a_run_takes_the_image_for_gpus_and_shares_them_among_its_nodes() -> None:
    wanted = prepare("fsdp", configuration=GPU_MODEL, nodes=2)
    assert (wanted.image, wanted.processes_per_node) == ("bakehouse/fsdp-gpu:latest", 2)
    assert wanted.expected["world_size"] == 4
    given = [docker_launcher._resources(wanted, node) for node in (0, 1)]
    asked: list[Any] = [one["device_requests"][0]["DeviceIDs"] for one in given]
    assert asked == [["0", "1"], ["2", "3"]]
    assert all(one["shm_size"] == "2g" and "mem_limit" not in one for one in given)
    on_processors = docker_launcher._resources(prepare("fsdp"), 0)
    assert set(on_processors) == {"mem_limit"}


@pytest.mark.usefixtures("four_gpus")
def test_an_image_without_cuda_is_refused_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request, "has_cuda", lambda _: False)
    with pytest.raises(InputError, match="no image of the test case fsdp is made for GPUs"):
        prepare("fsdp", configuration=GPU_MODEL)
    with pytest.raises(InputError, match=r"no image of images\.yml"):
        prepare("nemo-launcher")
    assert prepare("fsdp", configuration=GPU_MODEL, image="mine").image == "mine"


def test_the_script_gives_each_node_gpus_of_its_own() -> None:
    text = docker_script.render(
        job.prepare("fsdp", "docker", configuration=GPU_MODEL, nodes=2, processes_per_node=2)
    )
    for numbers in ("0,1", "2,3"):
        assert text.count(f"""--gpus '"device={numbers}"'""") == 1
    assert "--shm-size" in text
    assert "--memory" not in text
    usual = job.prepare("fsdp", "docker", configuration=GPU_MODEL, instance="p5.48xlarge")
    assert (usual.nodes, usual.processes_per_node) == (1, 8)
    on_processors = docker_script.render(job.prepare("fsdp", "docker"))
    assert "--gpus" not in on_processors
    assert "--memory" in on_processors
