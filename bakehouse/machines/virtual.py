"""A virtual machine that boots a disk: qemu, cloud-init's NoCloud, ssh on loopback.

It is cut off from every network: only its ssh can be reached, from this machine alone.
"""

import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bakehouse.builder.children import bound
from bakehouse.errors import BuildError, HostError, InputError
from bakehouse.machines.disk_image import INSTALL_TOOLS
from bakehouse.machines.ssh_machine import SshMachine, configured
from bakehouse.process import run

PROGRAM = "qemu-system-x86_64"
ACCELERATORS = ("auto", "kvm", "tcg")
USER = "debian"
"""Whom Debian's cloud-init makes, who may sudo."""
BOOT_S = 600
"""Emulated, a machine took 40 to 110 s to boot on two cores, quiet and busy."""
TESTS_S = 1800
"""As long may its host tests take: emulated, a hundred took four minutes on busy cores."""

_TRIAL_S = 3
_STOP_S = 120
_LOOK_S = 2
_USER_DATA = """\
#cloud-config
ssh_authorized_keys:
  - {key}
"""
_META_DATA = "instance-id: {name}\nlocal-hostname: {name}\n"


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a virtual machine has.

    Attributes:
        accelerator: `kvm` or `tcg`.
        memory_mb: Memory in MiB.
        cpus: Processors.
    """

    accelerator: str
    memory_mb: int = 4096
    cpus: int = 2


def hardware(accelerator: str = "auto") -> Hardware:
    """With KVM where it works, else emulated.

    Raises:
        InputError: There is no such accelerator.
        HostError: qemu is not installed, or KVM does not work and was asked for.
    """
    if accelerator not in ACCELERATORS:
        raise InputError(
            f"there is no accelerator {accelerator}",
            where="--accelerator",
            remedy=f"one of: {', '.join(ACCELERATORS)}",
        )
    for tool in (PROGRAM, "xorriso", "ssh", "ssh-keygen"):
        if shutil.which(tool) is None:
            raise HostError(f"{tool} is not installed", remedy=INSTALL_TOOLS)
    works = accelerator != "tcg" and _kvm_works()
    if accelerator == "kvm" and not works:
        remedy = "leave --accelerator out, and the machine is emulated"
        raise HostError("KVM does not work here", where="/dev/kvm", remedy=remedy)
    return Hardware(accelerator="kvm" if works else "tcg")


def _kvm_works() -> bool:
    """Whether a machine under KVM lives for a moment: some hosts offer it and then fail."""
    options = ["-display", "none", "-monitor", "none", "-serial", "none", "-nodefaults"]
    command = [PROGRAM, "-machine", "q35,accel=kvm", "-cpu", "max", "-m", "256", *options]
    with subprocess.Popen(
        bound(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            process.wait(timeout=_TRIAL_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


@dataclass(frozen=True, kw_only=True)
class VirtualMachine:
    """A running machine.

    Attributes:
        name: Its instance id and host name.
        ssh: How it is reached.
        serial: What it says on its serial console.
    """

    name: str
    ssh: SshMachine
    serial: Path
    process: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Wait until somebody may log in and cloud-init and systemd have done their part.

        Raises:
            BuildError: It ended, or nobody could log in.
        """
        until = time.monotonic() + BOOT_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise self._lost("nobody can log in")
            time.sleep(_LOOK_S)
        # They wait for all that boots, whether it fails or not: that is for the judge.
        self.ssh.execute(["cloud-init", "status", "--wait"])
        self.ssh.execute(["systemctl", "is-system-running", "--wait"])

    def reboot(self) -> None:
        """Have it boot once more, and wait for it.

        Raises:
            BuildError: As `wait`.
        """
        before = self.said("cat", "/proc/sys/kernel/random/boot_id")
        self.ssh.execute(["systemctl", "reboot"])
        self.ssh.leave()
        until = time.monotonic() + BOOT_S
        while True:
            status, after = self.ssh.execute(["cat", "/proc/sys/kernel/random/boot_id"])
            if status == 0 and after.strip() != before:
                break
            self.ssh.leave()
            if self.process.poll() is not None or time.monotonic() > until:
                raise self._lost("it does not come back from a reboot")
            time.sleep(_LOOK_S)
        self.wait()

    def said(self, *command: str) -> str:
        """What a command prints that root runs on it.

        Raises:
            BuildError: It failed.
        """
        status, text = self.ssh.execute(command)
        if status != 0:
            raise BuildError(
                f"`{shlex.join(command)}` ended with {status} on it: {text.strip()[-300:]}",
                where=self.name,
                remedy=f"its console is in {self.serial}",
            )
        return text.strip()

    def _answers(self) -> bool:
        return self.ssh.execute(["true"])[0] == 0

    def _lost(self, what: str) -> BuildError:
        said = self.serial.read_text(errors="replace") if self.serial.exists() else "nothing"
        tail = "\n".join(said.splitlines()[-15:])
        return BuildError(
            f"{what}; the last that its console says:\n{tail}",
            where=self.name,
            remedy=f"the whole console is in {self.serial}; KVM may be at fault: --accelerator tcg",
        )


@contextmanager
def started(name: str, disk: Path, folder: Path, hard: Hardware) -> Iterator[VirtualMachine]:
    """A machine with a copy-on-write clone of a disk, gone at the end.

    Args:
        name: Its instance id and host name.
        disk: A qcow2 image, which is not written to.
        folder: Where its clone, key and console go; must exist.
        hard: What it has.

    Raises:
        HostError: A tool is missing.
        BuildError: qemu does not start.
    """
    own = folder / name
    own.mkdir()
    clone = own / "clone.qcow2"
    _quietly("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(disk.resolve()), "-F", "qcow2",
             str(clone))  # fmt: skip
    port = _free_port()
    serial = folder / f"{name}.console.log"
    process = subprocess.Popen(
        bound(_command(hard, clone, _as_disk(seed(name, own)), port, serial)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(own / "qemu.log").open("wb"),
        start_new_session=True,
    )
    configuration = configured(
        own, host="127.0.0.1", port=str(port), user=USER, private_key_file=str(own / "key")
    )
    ssh = SshMachine(configuration=configuration, root=False, test_limit_s=TESTS_S)
    try:
        yield VirtualMachine(name=name, ssh=ssh, serial=serial, process=process)
        _shut_down(ssh, process)
    finally:
        ssh.leave()
        process.kill()
        process.wait()


def _shut_down(ssh: SshMachine, process: subprocess.Popen[bytes]) -> None:
    """As its owner would; a machine that does not follow is cut off by who calls."""
    ssh.execute(["systemctl", "poweroff"])
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_STOP_S)


def _command(hard: Hardware, disk: Path, seeds: Path, port: int, serial: Path) -> list[str]:
    address = ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0, *port.to_bytes(3, "big")))
    network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"
    return [
        PROGRAM, "-machine", "q35", "-accel", hard.accelerator, "-cpu", "max",
        "-smp", str(hard.cpus), "-m", str(hard.memory_mb),
        "-nodefaults", "-display", "none", "-monitor", "none", "-serial", f"file:{serial}",
        # Neither a cloud's disk loses what it said it had written, nor does it matter of a clone.
        "-drive", f"file={disk},if=virtio,format=qcow2,cache=unsafe",
        "-drive", f"file={seeds},if=virtio,format=raw,readonly=on",
        "-netdev", network, "-device", f"virtio-net-pci,netdev=net,mac={address}",
        "-device", "virtio-rng-pci",
    ]  # fmt: skip


def seed(name: str, folder: Path) -> Path:
    """A folder with what cloud-init is told (NoCloud); `key` beside it lets its owner in."""
    key, source = folder / "key", folder / "seed"
    _quietly("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", USER, "-f", str(key))
    source.mkdir()
    public = key.with_suffix(".pub").read_text(encoding="ascii").strip()
    (source / "user-data").write_text(_USER_DATA.format(key=public), encoding="utf-8")
    (source / "meta-data").write_text(_META_DATA.format(name=name), encoding="utf-8")
    return source


def _as_disk(source: Path) -> Path:
    """A seed as a disk that cloud-init looks for by its label."""
    disk = source.with_suffix(".iso")
    _quietly("xorriso", "-as", "mkisofs", "-quiet", "-volid", "cidata", "-joliet", "-rock",
             "-output", str(disk), str(source))  # fmt: skip
    return disk


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _quietly(*command: str) -> None:
    run(command, failure=HostError, remedy="is the disk full?", quiet=True)
