"""Every image's playbook, whole: it runs, a second run changes nothing, and all its tests hold.

Where the stack's vendors cannot be reached, they and the system are stood in for.
"""

from pathlib import Path

import pytest
from role_runs import changed, failure, play_file
from source_image import bring
from stand_ins import BAKING, booted, failed, setting

from bakehouse.layout import PLAYBOOKS
from bakehouse.playbooks import load_playbook

pytestmark = [pytest.mark.docker, pytest.mark.slow]

LAST = "image_cleanup"
"""It takes away what the tests of the others and a booted system need or make."""

NOT_STOOD_IN = {"gpu"}
"""Of wheels that can be had: test_gpu_image builds it for real."""

NAMES = sorted({path.stem for path in PLAYBOOKS.glob("*.yml")} - NOT_STOOD_IN)

OF_ITS_OWN = {"neuron": {"bakehouse_wheelhouse": ""}}
"""The folder of wheels of the tests has none of AWS's."""

CASES = [
    pytest.param(name, stack, system, id=name if len(systems) == 1 else f"{name}-{system}")
    for name in NAMES
    for stack, systems in [setting(name)]
    for system in systems
]


@pytest.mark.parametrize(("name", "stack", "system"), CASES)
def test_a_playbook_converges_and_a_second_run_changes_nothing(
    name: str, stack: str, system: str, tmp_path: Path
) -> None:
    roles = [role for role in load_playbook(name).roles if role != LAST]
    with booted(stack, system) as machine:
        machine.said("sh", "-c", bring(system))
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
        verdict = machine.judged(roles, machine.variables())
    assert failed(verdict) == ""
    passed = {r.source for r in verdict.results if r.status == "pass"}
    assert len(passed) >= len(roles) // 2
