"""Test cases' images that bring the libraries of CUDA: each trains on CPUs too."""

import json
import subprocess
import sys

import pytest
from started_runs import Finished, Runner

from bakehouse import engine
from bakehouse.builder import build_image
from bakehouse.images import Image, get_image, latest, load_images
from bakehouse.launch.case import load_case
from bakehouse.launch.case_image import has_cuda, stack_name
from bakehouse.stacks.stack import load_stack

pytestmark = [pytest.mark.docker, pytest.mark.slow]

IMAGES = [image.name for image in load_images().values() if image.case and has_cuda(image)]
TORCH = (
    "import json, torch; from importlib.metadata import version; "
    "print(json.dumps([version('torch'), torch.version.cuda]))"
)
# Loads each library, compares its version with that of the build, then asks the driver.
JAX = "import jax_plugins.xla_cuda13 as plugin; plugin.initialize()"
NO_DRIVER = "operation cuInit(0) failed"
NMS = (
    "import operators, torch, torchvision; assert operators.DECLARED is None; "
    "boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2); "
    "print(torchvision.ops.nms(boxes, torch.tensor([0.4, 0.5]), 0.5).tolist())"
)


def said(image: Image, program: str) -> tuple[int, str]:
    """Exit status and output of a Python program in an image."""
    command = ["python", "-c", program]
    with engine.running_container(latest(image.name), command) as container:
        status = container.wait(timeout=120)["StatusCode"]
        return int(status), container.logs().decode()


@pytest.fixture(scope="module", params=IMAGES)
def image(request: pytest.FixtureRequest) -> Image:
    """Each of them, built."""
    build_image(request.param)
    return get_image(request.param)


@pytest.fixture(scope="module")
def run(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of its case, on this machine's CPUs."""
    folder = tmp_path_factory.mktemp(image.name) / "run"
    return Runner(latest(image.name), str(image.case))(folder)


def test_torch_is_the_stacks_build_for_cuda(image: Image) -> None:
    versions = load_stack(str(stack_name(image))).versions
    status, output = said(image, TORCH)
    assert status == 0, output
    torch, cuda = json.loads(output.splitlines()[-1])
    assert torch == versions["pytorch_release"]
    assert versions["nvidia_cuda_release"].startswith(f"{cuda}.")


def test_two_processes_train_to_the_promised_loss(image: Image, run: Finished) -> None:
    assert run.status == 0, run.stderr
    case = load_case(str(image.case))
    (attempt,) = run.record["attempts"]
    start = next(record for record in attempt["records"] if record["event"] == "start")
    final = attempt["records"][-1]
    assert start["world_size"] == case.checks.world_size == 2
    assert final["held_out"] == case.dataset.held_out
    assert case.checks.loss is not None
    assert final["loss"] <= case.checks.loss


def test_its_checks_pass(image: Image) -> None:
    command = [sys.executable, "-m", "bakehouse", "check", image.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_jax_takes_the_libraries_of_torch_and_lacks_only_a_driver() -> None:
    build_image("jax-gpu")
    status, output = said(get_image("jax-gpu"), JAX)
    assert status == 1, output
    assert NO_DRIVER in output.splitlines()[-1], output


def test_composer_has_torchvisions_own_operators() -> None:
    build_image("mosaicml-composer-gpu")
    status, output = said(get_image("mosaicml-composer-gpu"), NMS)
    assert (status, output.splitlines()[-1]) == (0, "[1]"), output
