"""Every image's playbook, whole: it runs, a second run changes nothing, and all its tests hold.

Where the stack's vendors cannot be reached, they and the system are stood in for.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from role_runs import changed, failure, play_file
from stand_ins import BAKING, booted, setting
from vendor_mirror.kernels import KERNELS

from bakehouse import host_tests
from bakehouse.layout import PLAYBOOKS
from bakehouse.playbooks import load_playbook

pytestmark = [pytest.mark.docker, pytest.mark.slow]

LAST = "image_cleanup"
"""It takes away what the tests of the others and a booted system need or make."""

NOT_STOOD_IN = {"gpu"}
"""Of wheels that can be had: test_gpu_image builds it for real."""

NAMES = sorted({path.stem for path in PLAYBOOKS.glob("*.yml")} - NOT_STOOD_IN)

SOURCE_AMI = """
set -eu
apt-get --quiet=2 install --no-install-recommends {packages} >/dev/null
mkdir -p /opt/slurm/include
ln -s /usr/include/slurm /opt/slurm/include/slurm
"""
"""What the source image brings: kernels, and on ParallelCluster and HyperPod a Slurm."""

OF_ITS_OWN = {"neuron": {"bakehouse_wheelhouse": ""}}
"""The folder of wheels of the tests has none of AWS's."""

KERNEL_PACKAGES = [f"linux-image-{kernel}" for kernel in KERNELS]


@pytest.mark.parametrize("name", NAMES)
def test_a_playbook_converges_and_a_second_run_changes_nothing(name: str, tmp_path: Path) -> None:
    stack, system = setting(name)
    roles = [role for role in load_playbook(name).roles if role != LAST]
    packages = ["libslurm-dev", *(KERNEL_PACKAGES if system == "ubuntu24.04" else [])]
    with booted(stack, system) as machine:
        prepared = machine.container.exec_run(
            ["sh", "-c", SOURCE_AMI.format(packages=" ".join(packages))]
        )
        assert prepared.exit_code == 0, prepared.output.decode()
        hosts = {
            "target": machine.reached | BAKING | machine.variables() | OF_ITS_OWN.get(stack, {})
        }
        report = play_file(tmp_path, hosts, PLAYBOOKS / f"{name}.yml")
        assert failure(report, "target") == ""
        again = play_file(tmp_path, hosts, PLAYBOOKS / f"{name}.yml")
        assert failure(again, "target") == ""
        # The second run's own traces, such as package lists, are cleaned away again.
        touched = [task for task in changed(again, "target") if not task.startswith(f"{LAST} : ")]
        assert touched == []
        told: Any = SimpleNamespace(variables=machine.variables(), records={})
        container = str(machine.container.name)
        verdict = host_tests.run(container, roles, told, target="machine", booted=True)
    assert [r for r in verdict.results if r.status == "fail"] == []
    passed = {r.source for r in verdict.results if r.status == "pass"}
    assert len(passed) >= len(roles) // 2
