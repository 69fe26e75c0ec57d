"""The fabric manager of another version than the driver's is refused before any change."""

from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container
from role_runs import failure, play

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    ("driver", "named"),
    [({"nvidia_driver_release": {"version": "2"}}, "driver 2;"), ({}, "none is given")],
    ids=["another", "none"],
)
def test_another_version_than_the_drivers_is_refused(
    bare_container: Container, tmp_path: Path, driver: dict[str, Any], named: str
) -> None:
    hosts = {"target": {"ansible_connection": "docker", "ansible_host": bare_container.name}}
    tasks = [{"ansible.builtin.include_role": {"name": "nvidia_fabric_manager"}}]
    record = {"nvidia_fabric_manager_release": {"version": "1", "package": "nothing"}}
    report = play(tmp_path, hosts, tasks, **record, **driver)
    message = failure(report, "target")
    assert "both need the same version" in message
    assert named in message
    assert report["stats"]["target"]["changed"] == 0
