"""Roles in containers: molecule's scenarios, some at a time, and single plays."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_mitogen
from docker.models.containers import Container

from bakehouse import engine
from bakehouse.layout import ROLES, ROOT

SCENARIO_LABEL = "org.bakehouse.molecule"
AT_ONCE = int(os.environ.get("BAKEHOUSE_MOLECULE_AT_ONCE", "2"))
LONGEST_S = 1200.0

PROGRAMS = Path(sys.executable).parent
STRATEGIES = Path(ansible_mitogen.__file__).parent / "plugins" / "strategy"


def environment() -> dict[str, str]:
    """What Ansible and molecule run with here.

    Mitogen halves the time. BAKEHOUSE_MOLECULE_STRATEGY=linear runs without it, as the rehearsal
    of machine images does.
    """
    return os.environ | {
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_STRATEGY": os.environ.get("BAKEHOUSE_MOLECULE_STRATEGY", "mitogen_linear"),
        "ANSIBLE_STRATEGY_PLUGINS": str(STRATEGIES),
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
        "ANSIBLE_NOCOLOR": "1",
        "NO_COLOR": "1",
        "BAKEHOUSE_OWNER": "".join(engine.owner_label().values()),
    }


@dataclass(kw_only=True)
class Molecule:
    """Runs of molecule's scenarios, a few at a time.

    Attributes:
        run_id: Added to the names of these runs' containers.
        folder: Where the runs keep their state.
        keep: Leave the containers, for a person to look at.
    """

    run_id: str
    folder: Path
    keep: bool
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(AT_ONCE))
    futures: dict[str, Future[tuple[int, str]]] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, scenario: str) -> None:
        """Run a scenario as soon as fewer than AT_ONCE others run."""
        self.futures[scenario] = self.pool.submit(self._test, scenario)

    def result(self, scenario: str) -> tuple[int, str]:
        """Wait for a scenario; its exit status and everything that it printed."""
        return self.futures[scenario].result()

    def stop(self) -> None:
        """End what still runs and remove what it made."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if not self.keep:
            for container in self.containers():
                container.remove(force=True, v=True)

    def containers(self, scenario: str = "") -> list[Container]:
        """These runs' containers, or those of one scenario."""
        labels = [f"{SCENARIO_LABEL}={scenario}" if scenario else SCENARIO_LABEL]
        found = engine.connect().containers.list(all=True, filters={"label": labels})
        return [container for container in found if str(container.name).endswith(self.run_id)]

    def _test(self, scenario: str) -> tuple[int, str]:
        state = self.folder / scenario
        state.mkdir()
        process = subprocess.Popen(
            ["molecule", "test", "-s", scenario, *(["--destroy=never"] if self.keep else [])],
            cwd=ROOT,
            env=environment()
            | {"BAKEHOUSE_MOLECULE_RUN": self.run_id, "MOLECULE_EPHEMERAL_DIRECTORY": str(state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        output, _ = process.communicate(timeout=LONGEST_S)
        return process.returncode, output


def play(
    folder: Path,
    hosts: dict[str, Any],
    tasks: list[dict[str, Any]],
    *,
    roles: Path = ROLES,
    **variables: Any,
) -> dict[str, Any]:
    """Run tasks on hosts, and return what Ansible reports as JSON.

    Args:
        folder: Where inventory and playbook are written.
        hosts: Host names and their variables.
        tasks: Tasks of the one play.
        roles: Folder of the roles.
        variables: Variables of the play.
    """
    playbook = folder / "playbook.json"
    plays = [{"hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}]
    playbook.write_text(json.dumps(plays), encoding="utf-8")
    return play_file(folder, hosts, playbook, roles=roles)


def play_file(
    folder: Path, hosts: dict[str, Any], playbook: Path, *, roles: Path = ROLES
) -> dict[str, Any]:
    """Run a playbook on hosts, and return what Ansible reports as JSON; see `play`."""
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    done = subprocess.run(
        ["ansible-playbook", "--inventory", inventory, playbook],
        cwd=ROOT,
        env=environment()
        | {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_ROLES_PATH": str(roles)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "{" in done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return report


def failure(report: dict[str, Any], host: str) -> str:
    """The message of the task that failed on a host, and what it printed; nothing if none did."""
    for task in tasks_of(report):
        result = task["hosts"].get(host, {})
        if result.get("failed"):
            items = [item for item in result.get("results", []) if item.get("failed")]
            first = (items or [result])[0]
            printed = [first[stream] for stream in ("stdout", "stderr") if first.get(stream)]
            return "\n".join([str(first.get("msg", result)), *printed])
    return ""


def changed(report: dict[str, Any], host: str) -> list[str]:
    """Names of the tasks that changed something on a host."""
    tasks = tasks_of(report)
    return [task["task"]["name"] for task in tasks if task["hosts"].get(host, {}).get("changed")]


def tasks_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks of all plays, in order."""
    return [task for part in report["plays"] for task in part["tasks"]]
