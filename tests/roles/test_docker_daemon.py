"""Two roles write one file: what one says to Docker, the other keeps."""

import json
from pathlib import Path
from typing import Any

import pytest
from role_runs import failure
from stand_ins import STACK, StandIn, booted

pytestmark = [pytest.mark.docker, pytest.mark.slow]

FILE = "/etc/docker/daemon.json"


def settings(machine: StandIn) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(machine.container.exec_run(["cat", FILE]).output)
    return shown


@pytest.mark.parametrize(
    "roles",
    [["docker", "nvidia_container_toolkit"], ["nvidia_container_toolkit", "docker"]],
    ids=lambda roles: f"{roles[0]}-first",
)
def test_neither_role_undoes_the_other(roles: list[str], tmp_path: Path) -> None:
    with booted(STACK, "ubuntu24.04") as machine:
        variables = machine.variables()
        assert failure(machine.apply(tmp_path, roles, **variables), "target") == ""
        written = settings(machine)
        assert {"log-opts", "default-ulimits", "runtimes", "features"} <= set(written)

        again = machine.apply(tmp_path, [*roles, *roles], **variables)
        assert failure(again, "target") == ""
        assert again["stats"]["target"]["changed"] == 0

        changed = {"docker_log_max_size": "7m", "nvidia_container_toolkit_default_runtime": True}
        assert failure(machine.apply(tmp_path, roles, **(variables | changed)), "target") == ""
        wanted = {"max-size": "7m", "max-file": written["log-opts"]["max-file"]}
        assert settings(machine) == written | {"log-opts": wanted, "default-runtime": "nvidia"}
