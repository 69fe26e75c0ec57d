"""The image `gpu`: what its toolchain makes of a program of ours, and that torch goes with it."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import nccl_programs
import pytest
from docker.models.containers import Container
from docker.types import DeviceRequest

from bakehouse import engine
from bakehouse.builder import build_image
from bakehouse.stacks.stack import load_stack

pytestmark = [pytest.mark.docker, pytest.mark.slow]

HAS_GPU = shutil.which("nvidia-smi") is not None
TORCH = (
    "import json, torch; print(json.dumps([torch.version.cuda, torch.cuda.nccl.version(), "
    "torch.cuda.is_available()]))"
)


@pytest.fixture(scope="module")
def versions() -> dict[str, str]:
    return load_stack("gpu-wheels").versions


@pytest.fixture(scope="module")
def gpu() -> Iterator[Container]:
    build_image("gpu")
    options: dict[str, Any] = {"volumes": nccl_programs.MOUNT}
    if HAS_GPU:
        options["device_requests"] = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    command = ["sleep", "infinity"]
    with engine.running_container("bakehouse/gpu:latest", command, **options) as container:
        yield container


def test_an_nccl_program_compiles_and_runs(gpu: Container, versions: dict[str, str]) -> None:
    status, output = nccl_programs.compiled_and_run(gpu)
    assert output.startswith(f"nccl {versions['nvidia_nccl_release']} devices "), output
    if HAS_GPU:
        assert (status, output.strip().endswith("sum right")) == (0, True), output
    else:
        assert (status, output.strip()[-9:]) == (nccl_programs.NOTHING_TO_RUN_ON, "devices 0")


def test_torch_goes_with_the_toolchain(gpu: Container, versions: dict[str, str]) -> None:
    status, output = gpu.exec_run(["/opt/venv/bin/python", "-c", TORCH], stderr=False)
    assert status == 0, output
    cuda, nccl, sees_gpu = json.loads(output)
    assert versions["nvidia_cuda_release"].startswith(f"{cuda}.")
    assert ".".join(map(str, nccl)) == versions["nvidia_nccl_release"]
    assert sees_gpu == HAS_GPU
