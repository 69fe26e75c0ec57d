"""The last word before an image is made: host tests and checks on the machine that is baked.

Packer calls this program as it would call ansible-playbook, and so tells it how to get there.
"""

import json
import os
import sys
import time
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

from bakehouse import host_tests
from bakehouse.builder.inputs import stack_of
from bakehouse.checks.result import Result
from bakehouse.errors import BakehouseError, HostError
from bakehouse.images import Image, get_image, roles_of
from bakehouse.judge import CLEANUP, IDENTITY
from bakehouse.machines import written
from bakehouse.machines.reached import Machine, reached
from bakehouse.report import inventory
from bakehouse.stacks.stack import Stack

IMAGE, OUT = "BAKEHOUSE_JUDGED_IMAGE", "BAKEHOUSE_JUDGED_OUT"
"""Environment: name of the image, and the file that the findings go to."""

STACK, SINCE = "BAKEHOUSE_JUDGED_STACK", "BAKEHOUSE_JUDGED_SINCE"
"""Environment, not needed: the stack if it is not the image's own, and when Packer began."""

SIZE, TIME = "size-budget", "time-budget"
"""Ids of the results that hold the image against its budget."""

PROGRAM = str(Path(sys.executable).with_name("bakehouse-judge"))
"""What Packer calls."""

FULLEST = 0.9
"""More of the root device than this may not be in use: what runs later needs room as well."""


def main() -> None:
    """Judge the machine; exit status 1 if anything failed, and Packer makes no image."""
    try:
        image = get_image(os.environ[IMAGE])
        stack = stack_of(image, os.environ.get(STACK))
        with reached(sys.argv[1:]) as machine:
            found = findings(image, stack, machine, since=float(os.environ.get(SINCE, inf)))
    except BakehouseError as error:
        sys.exit(f"fatal: {error}")
    Path(os.environ[OUT]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    failed = [each for each in found["results"] if each["status"] == "fail"]
    passed = sum(each["status"] == "pass" for each in found["results"])
    for each in failed:
        print(f"fatal: {each['id']}: {each['reason']}; remedy: {each['remedy']}")
    print(f"judged: {passed} passed, {len(failed)} failed")
    sys.exit(1 if failed or not passed else 0)


def findings(image: Image, stack: Stack, machine: Machine, *, since: float = inf) -> dict[str, Any]:
    """What is found, as plain data: results, facts, identity, inventory, bytes in use.

    Args:
        image: What the machine becomes.
        stack: What it was baked of.
        machine: All roles but image_cleanup have run on it.
        since: When the bake began; infinite if that is not known.

    Raises:
        HostError: The machine does not answer.
    """
    minutes = (time.time() - since) / 60
    used, size = _root_device(machine)
    there = written.measure(machine.execute, since)
    used = used if machine.own_disk else there.bytes
    status, text = machine.execute(["cat", IDENTITY])
    identity = json.loads(text) if status == 0 else None
    roles = [role for role in roles_of(image.name) if role != CLEANUP]
    verdict = host_tests.run(machine.host(), roles, stack, target="machine", booted=True)
    results = [*verdict.results, *_checks(image, machine), *_budget(image, minutes, used)]
    if machine.own_disk:
        results.append(_room(used, size))
    return {
        "identity": identity,
        "results": [asdict(result) for result in results],
        "facts": verdict.facts,
        "inventory": asdict(inventory.take(machine.execute, identity)),
        "used_bytes": used,
        "written": there.as_json(),
    }


def _root_device(machine: Machine) -> tuple[int, int]:
    """Bytes in use, and all."""
    status, text = machine.execute(["df", "--block-size=1", "--output=used,size", "/"])
    if status != 0:
        raise HostError(f"the machine does not answer: {text.strip()}", remedy="see Packer's log")
    used, size = text.split()[-2:]
    return int(used), int(size)


def _checks(image: Image, machine: Machine) -> list[Result]:
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


def _budget(image: Image, minutes: float, used: int) -> list[Result]:
    """How the bake stands to what images.yml allows it."""
    if image.budget is None:
        return []
    remedy = f"see which roles need it; or raise budget of {image.name} in images.yml"
    found, gb = [], used / 1e9
    title = "The image is as small as its budget says"
    measured, allowed = f"{gb:.2f} GB", f"at most {image.budget.gb:g} GB"
    if 0 < gb <= image.budget.gb:
        found.append(_result(SIZE, title, "pass", measured=measured))
    else:
        reason = f"{measured}, {allowed}" if used else "the machine does not say how much it holds"
        found.append(_failure(SIZE, title, reason, remedy))
    title = "The bake is as fast as its budget says"
    measured, allowed = f"{minutes:.1f} minutes", f"at most {image.budget.minutes:g}"
    if minutes > image.budget.minutes:
        found.append(_failure(TIME, title, f"{measured}, {allowed}", remedy))
    elif minutes >= 0:  # when it began is known
        found.append(_result(TIME, title, "pass", measured=measured))
    return found


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
