"""The last word before an image is made: host tests and checks on the machine that is baked.

Packer calls this program as it would call ansible-playbook, and so tells it how to get there.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bakehouse import host_tests, scratch
from bakehouse.builder.inputs import stack_of
from bakehouse.checks.result import Result
from bakehouse.errors import BakehouseError, HostError
from bakehouse.images import Image, get_image, roles_of
from bakehouse.judge import CLEANUP, IDENTITY
from bakehouse.machines.ssh_machine import SshMachine, configured
from bakehouse.report import inventory

IMAGE, OUT = "BAKEHOUSE_JUDGED_IMAGE", "BAKEHOUSE_JUDGED_OUT"
"""Environment: name of the image, and the file that the findings go to."""

PROGRAM = str(Path(sys.executable).with_name("bakehouse-judge"))
"""What Packer calls."""

FULLEST = 0.9
"""More of the root device than this may not be in use: what runs later needs room as well."""


def main() -> None:
    """Judge the machine; exit status 1 if anything failed, and Packer makes no image."""
    try:
        with _reached(sys.argv[1:]) as machine:
            found = findings(get_image(os.environ[IMAGE]), machine)
    except BakehouseError as error:
        sys.exit(f"fatal: {error}")
    Path(os.environ[OUT]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    failed = [each for each in found["results"] if each["status"] == "fail"]
    passed = sum(each["status"] == "pass" for each in found["results"])
    for each in failed:
        print(f"fatal: {each['id']}: {each['reason']}; remedy: {each['remedy']}")
    print(f"judged: {passed} passed, {len(failed)} failed")
    sys.exit(1 if failed or not passed else 0)


def findings(image: Image, machine: SshMachine) -> dict[str, Any]:
    """What is found, as plain data: results, facts, identity, inventory, bytes in use.

    Raises:
        HostError: The machine does not answer.
    """
    used, size = _root_device(machine)
    status, text = machine.execute(["cat", IDENTITY])
    identity = json.loads(text) if status == 0 else None
    roles = [role for role in roles_of(image.name) if role != CLEANUP]
    verdict = host_tests.run(machine.host(), roles, stack_of(image), target="machine", booted=True)
    results = [*verdict.results, *_checks(image, machine), _room(used, size)]
    return {
        "identity": identity,
        "results": [asdict(result) for result in results],
        "facts": verdict.facts,
        "inventory": asdict(inventory.take(machine.execute, identity)),
        "used_bytes": used,
    }


def _root_device(machine: SshMachine) -> tuple[int, int]:
    """Bytes in use, and all."""
    status, text = machine.execute(["df", "--block-size=1", "--output=used,size", "/"])
    if status != 0:
        raise HostError(f"the machine does not answer: {text.strip()}", remedy="see Packer's log")
    used, size = text.split()[-2:]
    return int(used), int(size)


def _checks(image: Image, machine: SshMachine) -> list[Result]:
    """The image's own checks, but for those of an image that has never booted."""
    options = [part for g in image.checks if g != "hygiene" for part in ("--group", g)]
    if not options:  # without a group, all of them would run
        return []
    status, text = machine.execute(["/usr/local/bin/bakehouse-check", *options, "--json", "-"])
    try:
        return [Result(**result) for result in json.loads(text)["results"]]
    except (ValueError, KeyError, TypeError):
        return [
            _failure(
                "checks-run",
                "The image's own checks run",
                f"status {status}: {text.strip()[-300:]}",
                "bake it with the role node_checks",
            )
        ]


def _room(used: int, size: int) -> Result:
    share = used / size
    title = "The root device has room"
    if share > FULLEST:
        remedy = "raise ami.root_gb of the image in images.yml"
        return _failure("root-device-room", title, f"{share:.0%} are in use", remedy)
    return _result("root-device-room", title, "pass", measured=f"{share:.0%} in use")


def _failure(name: str, title: str, reason: str, remedy: str) -> Result:
    return _result(name, title, "fail", reason=reason, remedy=remedy)


def _result(
    name: str, title: str, status: str, *, measured: str = "", reason: str = "", remedy: str = ""
) -> Result:
    return Result(
        id=name,
        group="environment",
        title=title,
        status=status,
        measured=measured or None,
        expected="holds",
        source="bakehouse/machines/judging.py",
        reason=reason,
        remedy=remedy,
        seconds=0.0,
    )


@contextmanager
def _reached(arguments: Sequence[str]) -> Iterator[SshMachine]:
    """The machine that the arguments of ansible-playbook speak of."""
    told = _told(arguments)
    with scratch.folder("judge") as folder:
        configuration = configured(folder, **told)
        machine = SshMachine(configuration=configuration, root=told["user"] == "root")
        try:
            yield machine
        finally:
            machine.leave()


def _told(arguments: Sequence[str]) -> dict[str, str]:
    """Host, port, user and private_key_file, from the inventory and variables for Ansible.

    Packer 1.6 writes `ansible_ssh_host` where later ones write `ansible_host`.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", dest="inventory", type=Path, required=True)
    parser.add_argument("-e", dest="variables", action="append", default=[])
    known, _ = parser.parse_known_args(arguments)
    words = shlex.split(known.inventory.read_text(encoding="utf-8"))
    pairs = (text.split("=", 1) for text in [*words, *known.variables] if "=" in text)
    return {
        name.removeprefix("ansible_").removeprefix("ssh_"): value.strip('"')
        for name, value in pairs
    }
