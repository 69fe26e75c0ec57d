"""AMIs baked from end to end: moto for EC2, a container behind a real ssh for the instance.

moto keeps no block devices: those are looked up in what Packer asked for.
"""

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amazon import CREDENTIALS, REGION, Amazon
from tiny_tree import Finished, Tree

from bakehouse.engine import StartedContainer
from bakehouse.machines import template

MACHINE = """
set -eu
apt-get --quiet=2 update
DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --no-install-recommends install sudo >/dev/null
useradd --create-home --shell /bin/bash {user}
echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{user}
install -d -m 0700 -o {user} -g {user} /home/{user}/.ssh
ssh-keygen -A >/dev/null
systemctl start ssh
"""

REHEARSAL = """
  custom_endpoint_ec2         = "{url}"
  skip_region_validation      = true
  skip_credential_validation  = true
  skip_metadata_api_check     = true
  ssh_host                    = "{address}"
  ssh_port                    = {port}
  ssh_handshake_attempts      = 2
"""
"""What makes Packer ask moto and reach a container; nothing else of the template is another."""


@dataclass
class Rehearsal:
    """EC2, the machine that an instance of it seems to be, and a tree whose image is baked."""

    amazon: Amazon
    machine: StartedContainer
    tree: Tree
    temporary: Path
    port: int = 22
    timeout: str = "60s"

    def start(self, *options: str) -> subprocess.Popen[str]:
        """A `packer build` under way."""
        folder = template.readable(self.tree.root / "state" / "template", template.installed())
        self._adapt(folder / "amazon.pkr.hcl")
        variables = {"region": REGION, "root": self.tree.root, "image": self.tree.image}
        given = [part for name, text in variables.items() for part in ("-var", f"{name}={text}")]
        return subprocess.Popen(
            [
                "packer",
                "build",
                "-color=false",
                "-only=*.amazon-ebs.*",
                *given,
                *options,
                str(folder),
            ],
            env={
                **os.environ,
                **CREDENTIALS,
                **self.tree.places(),
                "BAKEHOUSE_JUDGED_IMAGE": self.tree.image,
                "BAKEHOUSE_JUDGED_OUT": str(self.judged),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "TMPDIR": str(self.temporary),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def judged(self) -> Path:
        """Where the judge writes what it has found."""
        return self.tree.root / "judged.json"

    def build(self, *options: str) -> tuple[int, str]:
        """Status and output of a `packer build`."""
        process = self.start(*options)
        output, _ = process.communicate(timeout=180)
        return process.returncode, output

    def stamps(self) -> list[str]:
        """Roles that have run on the machine since the last time."""
        listed: Any = self.machine.exec_run(["sh", "-c", "ls /opt/stamps; rm -rf /opt/stamps"])
        return sorted(listed.output.decode().split())

    def bakehouse(self, *options: str, limit_s: float = 180) -> Finished:
        """`bakehouse ami build` to its end."""
        self._adapt(self.tree.root / "packer" / "amazon.pkr.hcl")
        done = subprocess.run(
            self.tree.command("ami", "build", self.tree.image, "--region", REGION, *options),
            env={
                **os.environ,
                **CREDENTIALS,
                **self.tree.places(),
                **self.tree.environment,
                "AWS_ENDPOINT_URL": self.amazon.url,
                "TMPDIR": str(self.temporary),
            },
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        return Finished(status=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def left(self) -> list[str]:
        """What is still there that costs something or lets somebody in."""
        ec2 = self.amazon.ec2()
        instances = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
        return [
            *(i["InstanceId"] for i in instances if i["State"]["Name"] != "terminated"),
            *(k["KeyName"] for k in ec2.describe_key_pairs()["KeyPairs"]),
            *(
                g["GroupName"]
                for g in ec2.describe_security_groups()["SecurityGroups"]
                if g["GroupName"] != "default"
            ),
            *(v["VolumeId"] for v in ec2.describe_volumes()["Volumes"]),
        ]

    def images(self, region: str = REGION) -> list[dict[str, Any]]:
        """AMIs that were made."""
        found = self.amazon.ec2(region).describe_images(Owners=["self"])["Images"]
        return [dict(image) for image in found]

    def _adapt(self, file: Path) -> None:
        head = 'source "amazon-ebs" "machine" {\n'
        lines = REHEARSAL.format(
            url=self.amazon.url, address=address_of(self.machine), port=self.port
        )
        text = file.read_text().replace(head, head + lines)
        text = re.sub(r"(delay_seconds +=) 15", r"\1 1", text)
        file.write_text(re.sub(r"(ssh_timeout +=).*", rf'\1 "{self.timeout}"', text))


def address_of(machine: StartedContainer) -> str:
    """Its address on docker's network."""
    machine.reload()
    (network,) = machine.attrs["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


def tags_of(image: dict[str, Any]) -> dict[str, str]:
    """Tags by name."""
    return {tag["Key"]: tag["Value"] for tag in image["Tags"]}


def root_device(
    gb: int, *, name: str = "/dev/xvda", iops: int = 10000, throughput: int = 1000
) -> dict[str, str]:
    """What RunInstances is asked for, for the root device."""
    disk = {
        "VolumeType": "gp3",
        "VolumeSize": gb,
        "Iops": iops,
        "Throughput": throughput,
        "DeleteOnTermination": "true",
    }
    first = "BlockDeviceMapping.1"
    wanted = {f"{first}.Ebs.{key}": str(value) for key, value in disk.items()}
    return {f"{first}.DeviceName": name, **wanted}


@contextmanager
def instance(machine: StartedContainer, amazon: Amazon, user: str) -> Iterator[None]:
    """Have a booted container let in whoever has a key pair of EC2's, and let them use sudo."""
    made: Any = machine.exec_run(["sh", "-c", MACHINE.format(user=user)])
    assert made.exit_code == 0, made.output.decode()
    ended = threading.Event()
    keys = threading.Thread(target=_let_in, args=(amazon, machine, user, ended))
    keys.start()
    try:
        yield
    finally:
        ended.set()
        keys.join()


def _let_in(amazon: Amazon, machine: StartedContainer, user: str, ended: threading.Event) -> None:
    """As cloud-init does: an instance lets in who has the key pair that it was started with."""
    ec2, known = amazon.ec2(), ""
    while not ended.wait(0.2):
        pairs = ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
        keys = "\n".join(pair["PublicKey"] for pair in pairs)
        if keys not in {"", known}:  # of a key pair that is deleted, an instance hears nothing
            file = f"/home/{user}/.ssh/authorized_keys"
            machine.exec_run(["sh", "-c", f"echo {shlex.quote(keys)} >{file}"], user=user)
            known = keys
