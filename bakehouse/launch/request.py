"""What a user asks of a run, checked against test case and engine before anything starts."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakehouse import engine, layout
from bakehouse.errors import InputError, RunError
from bakehouse.images import latest
from bakehouse.launch import local_gpus
from bakehouse.launch.case import Case, load_case
from bakehouse.launch.case_image import has_cuda, image_for
from bakehouse.launch.secret import parse_secret
from bakehouse.launch.shape import check_splits


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run that can start.

    Attributes:
        image: Docker reference.
        image_id: The image that the reference names now.
        image_user: User of the image, as written in it.
        configuration: Name of the case's configuration.
        kill_node: Number of the node to kill in mid-training; None for an unbroken run.
        kill_after_step: Step that must have been logged before.
        output: Folder for run.json, logs and checkpoints; emptied when the run begins.
        timeout_s: Seconds for the whole run.
        keep: Leave containers and network behind.
        secrets: Variables of this environment that the processes get, and nobody records.
        gpus: Each process gets a GPU of this machine.
    """

    case: Case
    image: str
    image_id: str
    image_user: str
    configuration: str
    nodes: int
    processes_per_node: int
    kill_node: int | None
    kill_after_step: int | None
    output: Path
    timeout_s: float
    keep: bool
    secrets: tuple[str, ...] = ()
    gpus: bool = False

    @property
    def expected(self) -> dict[str, Any]:
        """What the case promises, for as many processes as this run has."""
        return {
            **self.case.promised(self.configuration),
            "world_size": self.nodes * self.processes_per_node,
        }


def prepare(
    name: str,
    *,
    nodes: int | None = None,
    processes_per_node: int | None = None,
    kill_node: int | None = None,
    kill_after_step: int | None = None,
    configuration: str | None = None,
    image: str | None = None,
    output: Path | None = None,
    timeout_s: float = 600.0,
    keep: bool = False,
    secrets: Sequence[str] = (),
) -> Request:
    """Check everything that can be checked before a run starts; None means the case's own value.

    Raises:
        InputError: A name or number is wrong.
        RunError: The image has not been built.
    """
    case = load_case(name)
    chosen = configuration or case.default_configuration
    device = case.configuration(chosen).device
    usual = (case.resources.nodes, case.resources.processes_per_node)
    node_count, processes = local_gpus.shape(device, nodes, processes_per_node, usual)
    check_splits(case, chosen, node_count, processes)
    _check_kill(kill_node, kill_after_step, node_count)
    image_name = _image_name(name, gpus=device == "gpu", given=image is not None)
    reference = image or latest(image_name)
    found = engine.image(reference)
    if found is None:
        raise RunError(
            f"there is no image {reference}",
            where=f"test case {name}",
            remedy=f"run `bakehouse build {image_name}`",
        )
    return Request(
        case=case,
        image=reference,
        image_id=str(found.id),
        image_user=str(found.attrs["Config"].get("User") or ""),
        gpus=device == "gpu",
        configuration=chosen,
        nodes=node_count,
        processes_per_node=processes,
        kill_node=kill_node,
        kill_after_step=kill_after_step,
        output=(output or layout.OUT / image_name / "run").absolute(),
        timeout_s=timeout_s,
        keep=keep,
        secrets=tuple(_present(parse_secret(text, "docker").variable) for text in secrets),
    )


def _present(variable: str) -> str:
    if not os.environ.get(variable):
        raise InputError(
            f"{variable} is not in this environment",
            where="--secret",
            remedy=f"export {variable}, or leave --secret {variable} out",
        )
    return variable


def _check_kill(node: int | None, after_step: int | None, nodes: int) -> None:
    if (node is None) != (after_step is None):
        raise InputError(
            "--kill-node and --kill-after-step belong together",
            remedy="for example --kill-node 1 --kill-after-step 60",
        )
    if node is not None and node >= nodes:
        raise InputError(
            f"there is no node {node} in a run of {nodes} nodes",
            where="--kill-node",
            remedy=f"a number from 0 to {nodes - 1}",
        )


def _image_name(case: str, *, gpus: bool, given: bool) -> str:
    image = image_for(case, gpus=gpus)
    if image is None:
        raise InputError(
            f"no image of images.yml is made from the test case {case}",
            where=str(layout.IMAGES_FILE),
            remedy=f"add an image with kind: case and case: {case}",
        )
    if gpus and not given and not has_cuda(image):
        raise InputError(
            f"no image of the test case {case} is made for GPUs",
            where=str(layout.IMAGES_FILE),
            remedy="give one with --image, or add it, as fsdp-gpu",
        )
    return image.name
