"""A wrong or missing argument stops a role before it changes anything, and is named."""

from collections.abc import Iterator
from typing import Any

import pytest
from docker.models.containers import Container
from role_runs import failure, play

from bakehouse.layout import ROLES
from bakehouse.stacks import documents

pytestmark = pytest.mark.docker

Case = tuple[str, str, dict[str, Any], str]
ANSIBLES_OWN = {"/root/.ansible", "/root/.ansible/tmp"}
ARCHIVE = {"version": "1", "url": "https://vendor.example/x", "sha256": "0" * 64}


def wrong_arguments() -> Iterator[Case]:
    """Case, role, variables, and what the message must name; from the specifications."""
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        role = path.parent.parent.name
        options = documents.load(path).data["argument_specs"]["main"]["options"]
        for name, option in options.items():
            if option.get("required"):
                yield f"{role}: without {name}", role, {}, name
            if "choices" in option:
                yield f"{role}: {name} not a choice", role, {name: "nonsense"}, name
            if option.get("type") in {"int", "bool"}:
                yield f"{role}: {name} of another type", role, {name: "nonsense"}, name


def wrong_records() -> Iterator[Case]:
    """Records that would allow an unverified download, or that say too little."""
    for missing in ("sha256", "url", "version"):
        record = {key: value for key, value in ARCHIVE.items() if key != missing}
        yield f"fetch: record without {missing}", "fetch", {"fetch_record": record}, missing
    both = ARCHIVE | {"by_architecture": {}}
    yield "fetch: record of two kinds", "fetch", {"fetch_record": both}, "by_architecture"
    bare = {"version": "1"}
    yield "docker: record without a source", "docker", {"docker_release": bare}, "by_platform"
    misspelt = {"version": "1", "pakcage": "docker.io"}
    yield "docker: record misspelt", "docker", {"docker_release": misspelt}, "pakcage"


CASES = [*wrong_arguments(), *wrong_records()]


@pytest.fixture(scope="module")
def report(bare_container: Container, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run all cases as the hosts of one play, which is many times faster than a play each."""
    reached = {"ansible_connection": "docker", "ansible_host": bare_container.name}
    hosts = {case: reached | {"case_role": role} | variables for case, role, variables, _ in CASES}
    tasks = [{"ansible.builtin.include_role": {"name": "{{ case_role }}"}}]
    return play(tmp_path_factory.mktemp("arguments"), hosts, tasks)


@pytest.mark.parametrize(
    ("case", "named"), [pytest.param(case, named, id=case) for case, _, _, named in CASES]
)
def test_is_refused_and_named(report: dict[str, Any], case: str, named: str) -> None:
    message = failure(report, case)
    assert "argument" in message
    assert named in message
    assert report["stats"][case]["changed"] == 0


def test_every_role_was_tried() -> None:
    roles = {path.parent.parent.name for path in ROLES.glob("*/meta/argument_specs.yml")}
    assert {role for _, role, _, _ in CASES} == roles


def test_nothing_in_the_container_changed(
    report: dict[str, Any], bare_container: Container
) -> None:
    assert report["stats"]
    # Some arguments are judged by an included role, after the facts: modules ran, from this folder.
    changed = [entry["Path"] for entry in bare_container.diff() or []]
    assert [path for path in changed if path not in {"/root", *ANSIBLES_OWN}] == []
