"""What Ansible's settings of a bake save over its defaults, on sixty tasks over one ssh connection.

    .venv/bin/python benchmarks/ansible_over_ssh.py --write

The same playbook runs on the same container, behind a real sshd, in turn with Ansible's defaults,
with ours (pipelining, no facts, persistent connections), and with Mitogen as Packer's bakes run it.
A first run of each is not counted: it makes the files, and later runs change nothing. `--write`
puts the table into docs/benchmarks.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import benchmarks_page

from bakehouse import layout, scratch
from bakehouse.builder import build_image
from bakehouse.machines import packer
from bakehouse.systemd import booted_container

BASE = "debian-12-machine"
TASKS = 60
TIMES = 3
AIM = 0.3
PERSISTENT = "-o ControlMaster=auto -o ControlPersist=60s"


TRIAL = "/opt/trial"
KINDS: tuple[tuple[int, dict[str, Any]], ...] = (
    (21, {"ansible.builtin.command": {"cmd": "true"}, "changed_when": False}),
    (11, {"ansible.builtin.file": {"path": f"{TRIAL}/d{{n}}", "state": "directory"}}),
    (10, {"ansible.builtin.copy": {"content": "x", "dest": f"{TRIAL}/{{n}}", "mode": "0644"}}),
    (5, {"ansible.builtin.systemd_service": {"name": "ssh", "enabled": True}}),
    (4, {"ansible.builtin.find": {"paths": TRIAL, "patterns": ["none"]}}),
    (4, {"ansible.builtin.stat": {"path": f"{TRIAL}/{{n}}"}}),
    (2, {"ansible.builtin.lineinfile": {"path": f"{TRIAL}/0", "line": "{n}", "create": True}}),
    (1, {"ansible.builtin.apt": {"name": "openssh-server"}}),
    (1, {"ansible.builtin.service_facts": {}}),
)
"""How many tasks of each kind: about the share that it has of the tasks of roles/ that do something
on a machine (`grep -rhoE 'ansible[.]builtin[.][a-z_]+:' roles/*/tasks | sort | uniq -c`; a template
counts as a copy)."""


def play() -> list[dict[str, Any]]:
    """A play of TASKS tasks of the kinds that roles have."""
    kinds = [kind for number, kind in KINDS for _ in range(number)]
    text = [json.dumps(kind).replace("{n}", str(number)) for number, kind in enumerate(kinds)]
    first = {"ansible.builtin.file": {"path": TRIAL, "state": "directory", "mode": "0755"}}
    tasks = [first, *map(json.loads, text)]
    assert len(tasks) == TASKS
    return [{"hosts": "all", "tasks": tasks}]


@contextmanager
def machine(folder: Path) -> Iterator[str]:
    """Address of a container that root reaches by ssh with the key in a folder."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with booted_container(f"{layout.NAMESPACE}/{BASE}:latest") as container:
        public = key.with_suffix(".pub").read_text(encoding="utf-8").strip()
        script = (
            "install -d -m 0700 /root/.ssh && ssh-keygen -A >/dev/null && systemctl restart ssh"
            f" && echo '{public}' >/root/.ssh/authorized_keys"
        )
        status, output = container.exec_run(["sh", "-c", script])
        if status != 0:
            raise SystemExit(f"the container lets nobody in: {output!r}")
        container.reload()
        (network,) = container.attrs["NetworkSettings"]["Networks"].values()
        yield str(network["IPAddress"])


def ways(folder: Path) -> dict[str, dict[str, str]]:
    """Environment of each way, by its name."""
    # Without a file of that name Ansible would look for the repository's own.
    none = folder / "none.cfg"
    none.write_text("[defaults]\n", encoding="utf-8")
    ours = {
        "ANSIBLE_CONFIG": str(layout.ROOT / "ansible.cfg"),
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_SSH_ARGS": PERSISTENT,
    }
    return {
        "Ansible's defaults": {"ANSIBLE_CONFIG": str(none)},
        "pipelining, no facts, persistent connections": ours,
        "the same with Mitogen, as Packer's bakes": {**ours, **packer.environment(folder)},
    }


def seconds(command: list[str], environment: Mapping[str, str]) -> float:
    """Run Ansible, and return the time.

    Raises:
        subprocess.CalledProcessError: It failed: a time would mean nothing.
    """
    told = {**os.environ, "ANSIBLE_HOST_KEY_CHECKING": "false", **environment}
    begin = time.monotonic()
    subprocess.run(command, env=told, cwd=layout.ROOT, check=True, capture_output=True)
    return time.monotonic() - begin


def main() -> None:
    """Measure, print, and with --write rewrite the marked part of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    build_image(BASE)
    with scratch.folder("benchmark") as folder, machine(folder) as address:
        playbook = folder / "play.yml"
        playbook.write_text(json.dumps(play()), encoding="utf-8")
        command = [
            str(layout.ROOT / ".venv" / "bin" / "ansible-playbook"), "--inventory", f"{address},",
            "--user", "root", "--private-key", str(folder / "key"), str(playbook),
        ]  # fmt: skip
        taken: dict[str, list[float]] = {name: [] for name in ways(folder)}
        for turn in range(TIMES + 1):
            for name, environment in ways(folder).items():
                passed = seconds(command, environment)
                if turn:
                    taken[name].append(passed)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    base = next(iter(medians.values()))
    called = ".venv/bin/python benchmarks/ansible_over_ssh.py --write"
    lines = [
        benchmarks_page.measured(f"median of {TIMES} runs in turn", called),
        "",
        f"| {TASKS} tasks over one ssh connection | time | aim: ≤ {AIM}× |",
        "|---|---|---|",
        *(
            f"| {name} | {passed:.1f} s | {passed / base:.2f}× |"
            for name, passed in medians.items()
        ),
    ]
    text = "\n".join(lines)
    print(text)
    if options.write:
        benchmarks_page.write("ansible_over_ssh", text)


if __name__ == "__main__":
    main()
