"""What the role pytorch_neuron promises: the stack's closure, importable, with its compiler."""

import json
from collections.abc import Callable
from typing import Any

from testinfra.host import Host

PYTHON = "/opt/venv/bin/python"
LISTING = (
    "import json, re; from importlib import metadata; "
    "print(json.dumps({re.sub('[-_.]+', '-', d.metadata['Name']).lower(): d.version "
    "for d in metadata.distributions()}))"
)


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    asked = "import torch_neuronx; print(torch_neuronx.__version__)"
    shown = host.check_output(f"{PYTHON} -c '{asked}'").splitlines()[-1]
    record_property("pytorch_neuron", shown)
    assert shown.partition("+")[0] == stack_versions["pytorch_neuron_release"]


def test_closure_is_the_stacks(host: Host, stack_variables: dict[str, Any]) -> None:
    present = json.loads(host.check_output(f'{PYTHON} -c "{LISTING}"'))
    wanted = {
        r["name"]: r["version"] for r in stack_variables["pytorch_neuron_release"]["requirements"]
    }
    found = {name: present.get(name, "") for name in wanted}
    differing = {n: v for n, v in found.items() if wanted[n] not in (v, v.partition("+")[0])}
    assert differing == {}


def test_closure_is_complete(host: Host) -> None:
    assert host.check_output("/opt/venv/bin/pip check --disable-pip-version-check")


def test_compiler_is_the_stacks(host: Host, stack_variables: dict[str, Any]) -> None:
    requirements = stack_variables["pytorch_neuron_release"]["requirements"]
    wanted = next(r["version"] for r in requirements if r["name"] == "neuronx-cc")
    assert wanted in host.check_output("/opt/venv/bin/neuronx-cc --version")


def test_wheels_are_not_kept(host: Host) -> None:
    assert not host.file("/root/.cache/pip").exists
