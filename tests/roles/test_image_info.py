"""Without the builder, the role still compares an image with the stack that the play was given."""

import json
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container
from role_runs import failure, play

pytestmark = pytest.mark.docker

RECORD = "/etc/bakehouse/components.d/python.json"
INSTALLED = {"component": "python", "version": "3.11.2-1"}


def bake(container: Container, folder: Path, version: str, **record_of: str) -> dict[str, Any]:
    """What the role reports where a stack promises this version of what is installed."""
    installed = json.dumps(INSTALLED | record_of)
    record = f"mkdir -p {Path(RECORD).parent} && echo '{installed}' > {RECORD}"
    assert container.exec_run(["sh", "-c", record]).exit_code == 0
    hosts = {"target": {"ansible_connection": "docker", "ansible_host": container.name}}
    tasks = [{"ansible.builtin.include_role": {"name": "image_info"}}]
    promises = {
        "python_release": {"version": version},
        "python_elsewhere_release": {"version": "3.9"},
        "unrelated_release": "no record",
    }
    return play(folder, hosts, tasks, **promises)


def test_an_image_of_the_plays_stack_is_identified(
    bare_container: Container, tmp_path: Path
) -> None:
    assert failure(bake(bare_container, tmp_path, "3.11.2"), "target") == ""
    identity = json.loads(bare_container.exec_run(["cat", "/etc/bakehouse/image.json"]).output)
    assert identity["image"] == "all"  # The name of the play.
    assert identity["stack"]["name"] == "unknown"


def test_another_version_than_the_plays_stack_says_is_refused(
    bare_container: Container, tmp_path: Path
) -> None:
    message = failure(bake(bare_container, tmp_path, "3.12"), "target")
    assert "the stack says 3.12, the image has 3.11.2-1" in message


def test_the_record_that_a_component_names_is_the_one_that_counts(
    bare_container: Container, tmp_path: Path
) -> None:
    told = bake(bare_container, tmp_path, "3.11.2", record="python_elsewhere_release")
    assert "the stack says 3.9, the image has 3.11.2-1" in failure(told, "target")
