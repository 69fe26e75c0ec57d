"""The proof of a disk: it boots, is judged, boots again, and two clones of it share no identity."""

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bakehouse.builder.inputs import stack_of
from bakehouse.checks.result import Result
from bakehouse.console import progress
from bakehouse.images import Image
from bakehouse.machines import judging, virtual
from bakehouse.machines.virtual import Hardware, VirtualMachine

CLOCK = "clock"
"""This check needs a time server, and the proof has no network."""

TIMED_OUT = "timed out"
"""What the check of a collective says that did not end."""

IDENTITY = {
    "machine-id": "cat /etc/machine-id",
    "host-keys": "for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -l -f $key; done",
    "random-seed": "sha256sum < /var/lib/systemd/random-seed",
    "dhcp-id": "grep --no-filename ^CLIENTID= /run/systemd/netif/leases/*",
    "hostname": "hostname",
}
"""What no two machines may have in common, and how a machine says it.

A random seed that shipped would be mixed with what each machine has of its own, and so differ after
the first boot all the same: that none ships is seen on the disk, by disk_hygiene.
"""

NO_SUCH_PROGRAM = 127

_CHANGES_ON_BOOT = {"random-seed"}
_DKMS = re.compile(r"^(?P<module>[^,:]+)[,/] ?(?P<rest>.*): installed", re.MULTILINE)


@dataclass(kw_only=True)
class Proof:
    """What was seen.

    Attributes:
        findings: The judge's of the first boot; empty for an image without roles.
        results: The judge's of both boots, and what booting, rebooting and cloning showed.
        seconds: What each step took.
    """

    findings: dict[str, Any] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, what: str, step: Callable[[], Any]) -> Any:
        """Do a step, and say and write down what it took."""
        began = time.monotonic()
        with progress.status(what):
            found = step()
        self.seconds[what] = round(time.monotonic() - began, 1)
        progress.print(f"  {what:<34} {self.seconds[what]:>8.1f} s", highlight=False)
        return found


def prove(image: Image, disk: Path, folder: Path, hardware: Hardware) -> Proof:
    """Boot clones of a disk and look at them.

    Args:
        image: Whose disk it is.
        disk: qcow2; nothing is written to it.
        folder: For clones and consoles; must exist.
        hardware: What the machines have.

    Raises:
        BuildError: A machine does not boot, or does not answer.
        HostError: A tool is missing.
    """
    proof = Proof()
    emulated = hardware.accelerator == "tcg"
    with virtual.started("first", disk, folder, hardware) as machine:
        proof.timed("boot", machine.wait)
        _judge(proof, image, machine, "", emulated)
        before = proof.timed("identity", lambda: _identity(machine))
        proof.timed("reboot", machine.reboot)
        _judge(proof, image, machine, "after the reboot", emulated)
        proof.results.append(_kept(before, _identity(machine)))
    identities = proof.timed("two clones", lambda: _of_clones(disk, folder, hardware))
    proof.results += [_apart(name, [i[name] for i in (before, *identities)]) for name in IDENTITY]
    return proof


def _judge(proof: Proof, image: Image, machine: VirtualMachine, when: str, emulated: bool) -> None:
    """Host tests and checks of the image's roles, and what any machine must show."""
    results = [_services(machine), _kernel(machine), *_modules(machine)]
    if image.playbook:
        found = proof.timed(
            f"judge {when}".strip(), lambda: judging.findings(image, stack_of(image), machine.ssh)
        )
        results += [_fair(Result(**result), emulated) for result in found["results"]]
        proof.findings = proof.findings or found
    proof.results += [_marked(result, when) for result in results]


def _marked(result: Result, when: str) -> Result:
    if not when:
        return result
    return replace(result, id=f"{result.id}-rebooted", title=f"{result.title}, {when}")


def _fair(result: Result, emulated: bool) -> Result:
    """What the proof's machine cannot show is not held against the disk, nor counted for it."""
    reason = ""
    if result.id == CLOCK:
        reason = "the machine of the proof has no network, and so no time server"
    elif emulated and result.group == "collectives" and result.reason.startswith(TIMED_OUT):
        reason = "an emulated machine was too slow for it; --accelerator kvm shows it"
    if not reason or result.status != "fail":
        return result
    return replace(result, status="skip", reason=reason, remedy="")


def _services(machine: VirtualMachine) -> Result:
    failed = machine.said("systemctl", "--failed", "--plain", "--no-legend").splitlines()
    names = ", ".join(line.split()[0] for line in failed)
    return _result(
        "services-up", "All services are up", not names, names or "none failed", "none failed",
        remedy="journalctl --unit NAME on the machine, or its console",
    )  # fmt: skip


def _kernel(machine: VirtualMachine) -> Result:
    running = machine.said("uname", "-r")
    held = machine.said("apt-mark", "showhold").split()
    return _result(
        "kernel-held", "The running kernel is held", f"linux-image-{running}" in held,
        running, "held against updates", remedy="bake it with the role packages",
    )  # fmt: skip


def _modules(machine: VirtualMachine) -> list[Result]:
    """Each module of DKMS: built for the kernel that runs, and found by it."""
    status, text = machine.ssh.execute(["dkms", "status"])
    if status == NO_SUCH_PROGRAM:
        return []
    if status != 0:
        return [
            _result(
                "modules", "DKMS says what it has built", False, text.strip()[:200] or "nothing",
                "its modules", remedy="run `dkms status` on the machine",
            )
        ]  # fmt: skip
    running = machine.said("uname", "-r")
    names = sorted({line.partition("/")[0].partition(",")[0] for line in text.splitlines() if line})
    built = {m["module"].partition("/")[0] for m in _DKMS.finditer(text) if running in m["rest"]}
    return [
        _result(
            f"module-{name}", f"DKMS has built {name} for the running kernel", name in built,
            text.strip()[:200], running, remedy="look at the role that installs it",
        )
        for name in names
    ]  # fmt: skip


def _identity(machine: VirtualMachine) -> dict[str, str]:
    return {name: machine.said("sh", "-c", script) for name, script in IDENTITY.items()}


def _of_clones(disk: Path, folder: Path, hardware: Hardware) -> list[dict[str, str]]:
    """Identities of two clones that run side by side."""

    def identity(name: str) -> dict[str, str]:
        with virtual.started(name, disk, folder, hardware) as machine:
            machine.wait()
            return _identity(machine)

    with ThreadPoolExecutor(max_workers=2) as together:
        return list(together.map(identity, ("second", "third")))


def _kept(before: dict[str, str], after: dict[str, str]) -> Result:
    lost = sorted(n for n in before if n not in _CHANGES_ON_BOOT and before[n] != after[n])
    return _result(
        "identity-kept", "A reboot keeps the identity", not lost,
        f"others: {', '.join(lost)}" if lost else "the same", "the same",
        remedy="see what writes it anew on each boot",
    )  # fmt: skip


def _apart(name: str, values: Sequence[str]) -> Result:
    """Three machines of one disk, each with its own."""
    own = len(set(values)) == len(values) and all(values)
    return _result(
        f"clones-{name}", f"Each clone has its own {name}", own,
        f"{len(set(values))} of {len(values)}", "each its own",
        remedy="bake it with the role image_cleanup as its last",
    )  # fmt: skip


def _result(
    name: str, title: str, holds: bool, measured: str, expected: str, *, remedy: str
) -> Result:
    return Result(
        id=name,
        group="node",
        title=title,
        status="pass" if holds else "fail",
        measured=measured,
        expected=expected,
        source="bakehouse/machines/proof.py",
        reason="" if holds else f"measured: {measured}",
        remedy="" if holds else remedy,
        seconds=0.0,
    )


def as_json(proof: Proof) -> dict[str, Any]:
    """Plain data."""
    return {"seconds": proof.seconds, "results": [asdict(result) for result in proof.results]}
