"""What the tests of roles share: the image of a machine, molecule's runs, a bare container."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from docker.models.containers import Container
from role_runs import Molecule

from bakehouse import engine
from bakehouse.builder import build_image, wheelhouse
from bakehouse.stacks.stack import load_stack


@pytest.fixture(scope="session")
def machine_image() -> str:
    """The systemd container that stands in for a machine; made where it is missing."""
    reference = "bakehouse/debian-12-machine:latest"
    if engine.image(reference) is None:
        build_image("debian-12-machine")
    return reference


@pytest.fixture(scope="session")
def molecule(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    machine_image: str,
    keep_artifacts: bool,
) -> Iterator[Molecule]:
    """Start every scenario that a selected test asks for, in the order of the tests."""
    assert engine.image(machine_image) is not None
    wheelhouse.prepare(load_stack("cpu"))
    runs = Molecule(
        run_id=f"-{uuid4().hex[:8]}",
        folder=tmp_path_factory.mktemp("molecule"),
        keep=keep_artifacts,
    )
    wanted = [
        item.callspec.params.get("scenario")
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and hasattr(item, "callspec")
        and not item.get_closest_marker("skip")
    ]
    try:
        for scenario in filter(None, wanted):
            runs.start(scenario)
        yield runs
    finally:
        runs.stop()


@pytest.fixture(scope="module")
def bare_container(machine_image: str) -> Iterator[Container]:
    """A container in which nothing runs, for roles to be tried on."""
    with engine.running_container(machine_image, ["sleep", "infinity"]) as container:
        yield container
