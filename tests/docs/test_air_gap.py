"""docs/air-gap.md, followed word by word; its build has no network."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import documented_steps
import layer_scan
import no_network
import pytest
from documented_steps import Copy

from bakehouse import engine
from bakehouse.layout import ROOT

PAGE = ROOT / "docs" / "air-gap.md"

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    """A copy of the repository whose images have names of their own."""
    if reason := no_network.why_not():
        pytest.skip(reason)
    root = tmp_path / "repository"
    documented_steps.copy_repository(root)
    namespace = f"bakehouse-test-{uuid4().hex[:10]}"
    environment = {
        **os.environ,
        "BAKEHOUSE_ROOT": str(root),
        "BAKEHOUSE_STATE": str(root / ".bakehouse"),
        "BAKEHOUSE_OUT": str(root / "out"),
        "BAKEHOUSE_NAMESPACE": namespace,
        "PYTHONPATH": str(root),
    }
    yield Copy(root=root, touched=[], environment=environment)
    engine.remove_namespace(namespace)


def commands() -> list[list[str]]:
    """The commands of the page's first block, without the program's name."""
    block = PAGE.read_text().partition("```console\n")[2].partition("```")[0]
    return [shlex.split(line) for line in re.findall(r"^bakehouse (.*)$", block, re.MULTILINE)]


def without_network(copy: Copy, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run our command line where there is no network, with caches that are empty."""
    caches = copy.root.parent / "no-caches"
    here = replace(
        copy,
        environment={
            **{name: v for name, v in copy.environment.items() if not name.startswith("PIP_")},
            "PIP_CONFIG_FILE": os.devnull,
            "BAKEHOUSE_STATE": str(caches),
        },
    )
    return here.run(*no_network.command(sys.executable, "-m", "bakehouse", *arguments))


def test_the_cpu_image_is_built_with_the_network_removed(copy: Copy) -> None:
    create, check, build = commands()
    for command in (create, check):
        done = copy.bakehouse(*command)
        assert done.returncode == 0, done.stderr
    done = without_network(copy, *build)
    assert done.returncode == 0, done.stderr
    image = f"{copy.environment['BAKEHOUSE_NAMESPACE']}/cpu:latest"
    base = f"{copy.environment['BAKEHOUSE_NAMESPACE']}/debian-12:latest"
    assert engine.image(base) is not None
    program = "import torch; print(torch.ones(2, 2).sum().item())"
    assert engine.output_of(image, ["python", "-c", program]).strip() == "4.0"
    assert layer_scan.findings(image, base) == []

    # The same without one package, which the root file system needs, in the manifest neither.
    bundle = copy.root / "out" / "mirror" / "cpu"
    package = next(bundle.rglob("base-files_*.deb"))
    package.unlink()
    done = without_network(copy, *build)
    assert done.returncode == 4
    assert f"{package.relative_to(bundle)}: missing" in done.stderr
