"""The NVIDIA driver from where the stack does not take it: the runfile, Ubuntu's signed modules.

NVIDIA and Ubuntu are stood in for: options, names, order and idempotence are ours to get right.
"""

from pathlib import Path
from typing import Any

import pytest
from role_runs import changed, failure
from stand_ins import STACK, booted, scenario

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ROLE = "nvidia_driver"
VERSION = "595.91.07"
RUNFILE = {
    "version": VERSION,
    "url": f"https://us.download.nvidia.com/tesla/{VERSION}/NVIDIA-Linux-x86_64-{VERSION}.run",
    "sha256": "0" * 64,
}
SIGNED = {"version": VERSION, "package": "nvidia-utils-595-server"}
SETTINGS = "/etc/systemd/system/nvidia-driver-settings.service"


@pytest.mark.parametrize(
    ("record", "system", "by_dkms"),
    [
        pytest.param(RUNFILE, "ubuntu24.04", True, id="runfile-ubuntu24.04"),
        pytest.param(RUNFILE, "amazon2023", True, id="runfile-amazon2023"),
        pytest.param(SIGNED, "ubuntu24.04", False, id="signed-ubuntu24.04"),
    ],
)
def test_the_driver_comes_from_there(
    record: dict[str, Any], system: str, by_dkms: bool, tmp_path: Path
) -> None:
    told = scenario(ROLE)
    with booted(STACK, system, ({f"{ROLE}_release": record},)) as machine:
        variables = machine.variables() | told.variables | {"nvidia_driver_mig": "enabled"}
        assert failure(machine.apply(tmp_path, [*told.before, ROLE], **variables), "target") == ""
        again = machine.apply(tmp_path, [ROLE], **variables)
        assert failure(again, "target") == ""
        assert changed(again, "target") == []
        assert machine.broken_promises([ROLE], variables) == ""
        built = machine.said("dkms", "status").splitlines()
        assert (len(built) == 2) is by_dkms
        assert machine.said("systemd-analyze", "verify", SETTINGS) == ""
        assert "/usr/bin/nvidia-smi --multi-instance-gpu=1\n" in machine.said("cat", SETTINGS)
        assert machine.said("find", "/var/cache", "-name", "*.run") == ""
