"""`packer build` of an AMI against an API that answers as EC2 does, on a machine behind a real ssh.

What this cannot show is whether AWS answers so, and whether the AMI boots.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import tiny_tree
from amazon import COPY_REGION, CREDENTIALS, REGION, Amazon, serving
from tiny_tree import MACHINE_BASE, Tree, processes, wait_for

from bakehouse import engine
from bakehouse.engine import StartedContainer
from bakehouse.machines import template

pytestmark = pytest.mark.docker

MACHINE = """
set -eu
apt-get --quiet=2 update
DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --no-install-recommends install sudo >/dev/null
useradd --create-home --shell /bin/bash ec2-user
echo 'ec2-user ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ec2-user
install -d -m 0700 -o ec2-user -g ec2-user /home/ec2-user/.ssh
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

FAILING = """\
- name: Fetch what is not there
  ansible.builtin.command: cat /opt/other-half
  changed_when: false
"""
SLEEPING = """\
- name: Take a long time
  ansible.builtin.command: sleep {seconds}
  changed_when: true
"""


@dataclass
class Rehearsal:
    """EC2, the machine that an instance of it seems to be, and a tree whose image is baked."""

    amazon: Amazon
    machine: StartedContainer
    tree: Tree
    port: int = 22
    timeout: str = "60s"

    def start(self, *options: str, only: str = "*.amazon-ebs.*") -> subprocess.Popen[str]:
        """A `packer build` under way."""
        folder = template.readable(self.tree.root / "state" / "template", template.installed())
        self._adapt(folder / "amazon.pkr.hcl")
        variables = {"region": REGION, "root": self.tree.root, "image": self.tree.image}
        given = [part for name, text in variables.items() for part in ("-var", f"{name}={text}")]
        return subprocess.Popen(
            ["packer", "build", "-color=false", f"-only={only}", *given, *options, str(folder)],
            env={
                **os.environ,
                **CREDENTIALS,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "TMPDIR": str(self.tree.root),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def build(self, *options: str) -> tuple[int, str]:
        """Status and output of a `packer build`."""
        process = self.start(*options)
        output, _ = process.communicate(timeout=180)
        return process.returncode, output

    def stamps(self) -> list[str]:
        """Roles that have run on the machine since the last time."""
        _, output = self.machine.exec_run(["sh", "-c", "ls /opt/stamps; rm -rf /opt/stamps"])
        return sorted(output.decode().split())

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


@pytest.fixture(scope="module")
def amazon() -> Iterator[Amazon]:
    with serving() as amazon:
        yield amazon


@pytest.fixture(scope="module")
def machine(machine_base: str, amazon: Amazon) -> Iterator[StartedContainer]:
    """A machine that lets in whoever has a key pair of EC2's."""
    mount = engine.cgroup_mount().split(":")
    with engine.running_container(
        machine_base,
        ["/lib/systemd/systemd"],
        cap_add=["SYS_ADMIN"],
        volumes={mount[0]: {"bind": mount[1], "mode": mount[2]}},
        tmpfs={"/run": "", "/run/lock": ""},
    ) as machine:
        engine.wait_for_systemd(machine)
        status, output = machine.exec_run(["sh", "-c", MACHINE])
        assert status == 0, output.decode()
        ended = threading.Event()
        keys = threading.Thread(target=_lets_in, args=(amazon, machine, ended))
        keys.start()
        yield machine
        ended.set()
        keys.join()


def _lets_in(amazon: Amazon, machine: StartedContainer, ended: threading.Event) -> None:
    """As cloud-init does: an instance lets in who has the key pair that it was started with."""
    known = ""
    while not ended.wait(0.2):
        pairs = amazon.ec2().describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
        keys = "\n".join(pair["PublicKey"] for pair in pairs)
        if keys != known:
            file = "/home/ec2-user/.ssh/authorized_keys"
            machine.exec_run(["sh", "-c", f"echo {shlex.quote(keys)} >{file}"], user="ec2-user")
            known = keys


@pytest.fixture
def rehearsal(amazon: Amazon, machine: StartedContainer, tmp_path: Path) -> Rehearsal:
    amazon.reset()
    machine.exec_run(["rm", "-rf", tiny_tree.STAMPS])
    tree = tiny_tree.make(tmp_path / "tree", "rehearsal", MACHINE_BASE)
    tree.entry = {
        "ami": {
            "source": "base",
            "distributions": ["amazon-2023"],
            "instance_types": {"x86_64": "c7i.4xlarge", "arm64": "c7g.4xlarge"},
            "root_gb": 40,
        }
    }
    tree.write()
    return Rehearsal(amazon=amazon, machine=machine, tree=tree)


def test_an_ami_is_baked_tagged_and_copied(rehearsal: Rehearsal) -> None:
    status, output = rehearsal.build("-var", f'copy_to_regions=["{COPY_REGION}"]')
    assert status == 0, output
    (image,) = rehearsal.images()
    (copy,) = rehearsal.images(COPY_REGION)
    assert image["Name"] == copy["Name"]
    assert re.fullmatch(r"bakehouse-rehearsal-amazon-2023-x86_64-\d{14}", str(image["Name"]))
    tags = tags_of(image)
    assert tags == tags_of(copy)
    assert (
        tags.items()
        >= {
            "bakehouse:image": "rehearsal",
            "bakehouse:distribution": "amazon-2023",
            "bakehouse:architecture": "x86_64",
            "bakehouse:component:one": "1",
        }.items()
    )
    (source,) = rehearsal.amazon.ec2().describe_images(ImageIds=[tags["bakehouse:source-ami"]])[
        "Images"
    ]
    assert re.fullmatch(r"al2023-ami-2023\..*-kernel-6\.12-x86_64", source["Name"])
    assert re.fullmatch(r"tiny@sha256:[0-9a-f]{64}", tags["bakehouse:stack"])
    assert datetime.fromisoformat(tags["bakehouse:created"]).tzinfo is not None
    assert rehearsal.left() == []
    manifest = json.loads((rehearsal.tree.root / "out/rehearsal/packer-manifest.json").read_text())
    assert f"{REGION}:{image['ImageId']}" in manifest["builds"][-1]["artifact_id"]


def test_what_ec2_is_asked_for_by_default(rehearsal: Rehearsal) -> None:
    status, output = rehearsal.build()
    assert status == 0, output
    (run,) = rehearsal.amazon.asked("RunInstances")
    expected = {
        "InstanceType": "c7i.4xlarge",
        "BlockDeviceMapping.1.DeviceName": "/dev/xvda",
        "BlockDeviceMapping.1.Ebs.VolumeType": "gp3",
        "BlockDeviceMapping.1.Ebs.VolumeSize": "40",
        "BlockDeviceMapping.1.Ebs.Iops": "10000",
        "BlockDeviceMapping.1.Ebs.Throughput": "1000",
        "BlockDeviceMapping.1.Ebs.DeleteOnTermination": "true",
        "NetworkInterface.1.AssociatePublicIpAddress": "true",
    }
    assert run.items() >= expected.items()
    assert any(r.get("EnaSupport.Value") == "true" for r in rehearsal.amazon.requests)
    assert any(r.get("SriovNetSupport.Value") == "simple" for r in rehearsal.amazon.requests)
    assert rehearsal.stamps() == ["last", "one", "two"]


def test_what_ec2_is_asked_for_by_choice(rehearsal: Rehearsal) -> None:
    ec2 = rehearsal.amazon.ec2()
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    key = "arn:aws:kms:us-west-2:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
    chosen = {
        "encrypt": "true", "kms_key_id": key, "share_with": '["210987654321"]',
        "public_address": "false", "subnet_id": subnet, "root_gb": "70", "root_iops": "3000",
        "root_throughput": "125", "instance_type": "c7i.8xlarge", "tags": '{team="training"}',
        "ssh_source_cidrs": '["192.0.2.0/24"]',
    }  # fmt: skip
    options = [part for name, text in chosen.items() for part in ("-var", f"{name}={text}")]
    status, output = rehearsal.build(*options)
    assert status == 0, output
    (run,) = rehearsal.amazon.asked("RunInstances")
    expected = {
        "InstanceType": "c7i.8xlarge",
        "BlockDeviceMapping.1.Ebs.VolumeSize": "70",
        "BlockDeviceMapping.1.Ebs.Iops": "3000",
        "BlockDeviceMapping.1.Ebs.Throughput": "125",
        "SubnetId": subnet,
    }
    assert run.items() >= expected.items()
    assert not any(name.endswith("AssociatePublicIpAddress") for name in run)
    (copy,) = rehearsal.amazon.asked("CopyImage")
    assert (copy["Encrypted"], copy["KmsKeyId"]) == ("true", key)
    (let_in,) = rehearsal.amazon.asked("AuthorizeSecurityGroupIngress")
    assert let_in["IpPermissions.1.IpRanges.1.CidrIp"] == "192.0.2.0/24"
    (image,) = rehearsal.images()
    assert tags_of(image)["team"] == "training"
    permissions = ec2.describe_image_attribute(
        ImageId=str(image["ImageId"]), Attribute="launchPermission"
    )
    assert permissions["LaunchPermissions"] == [{"UserId": "210987654321"}]
    assert rehearsal.left() == []


@pytest.mark.parametrize(
    ("action", "code"),
    [("RunInstances", "InsufficientInstanceCapacity"), ("DescribeImages", "RequestExpired")],
    ids=["no capacity", "an expired token"],
)
def test_what_ec2_refuses_is_told_and_nothing_is_left(
    rehearsal: Rehearsal, action: str, code: str
) -> None:
    rehearsal.amazon.refusals[action] = ("400 Bad Request", code, "It is refused by the tests.")
    status, output = rehearsal.build()
    rehearsal.amazon.refusals.clear()
    assert status == 1
    assert f"{code}: It is refused by the tests." in output
    assert (rehearsal.left(), rehearsal.images()) == ([], [])


def test_without_a_source_ami_nothing_starts(rehearsal: Rehearsal) -> None:
    status, output = rehearsal.build("-var", "source_ami=ami-0123456789abcdef0")
    assert status == 1
    assert "ami-0123456789abcdef0" in output
    assert rehearsal.amazon.asked("RunInstances") == []
    assert (rehearsal.left(), rehearsal.images()) == ([], [])


def test_of_a_given_source_ami_the_architecture_is_asked_too(rehearsal: Rehearsal) -> None:
    """EC2 then finds none that is of another; moto looks at the id alone."""
    found = rehearsal.amazon.ec2().describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    rehearsal.amazon.refusals["RunInstances"] = ("400 Bad Request", "Enough", "We know.")
    rehearsal.build("-var", f"source_ami={found}", "-var", "architecture=arm64")
    asked = rehearsal.amazon.asked("DescribeImages")[-1]
    assert asked["ImageId.1"] == found
    (number,) = [k.split(".")[1] for k, text in asked.items() if text == "architecture"]
    assert asked[f"Filter.{number}.Value.1"] == "arm64"
    assert "name" not in asked.values()


def test_a_machine_that_nobody_reaches_is_given_up(rehearsal: Rehearsal) -> None:
    rehearsal.port, rehearsal.timeout = 1, "3s"
    status, output = rehearsal.build()
    assert status == 1
    assert "Timeout waiting for SSH" in output
    assert (rehearsal.left(), rehearsal.images()) == ([], [])


def test_a_role_that_fails_makes_no_ami(rehearsal: Rehearsal) -> None:
    rehearsal.tree.role("two", FAILING)
    status, output = rehearsal.build()
    assert status == 1
    assert "/opt/other-half: No such file or directory" in output
    assert (rehearsal.left(), rehearsal.images()) == ([], [])


def test_an_interrupted_build_takes_all_away(rehearsal: Rehearsal) -> None:
    seconds = "9402"
    rehearsal.tree.role("two", SLEEPING.format(seconds=seconds))
    process = rehearsal.start()
    wait_for(lambda: processes(seconds))
    assert len(rehearsal.left()) >= 3
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert (rehearsal.left(), rehearsal.images()) == ([], [])


def test_without_a_region_nothing_starts(rehearsal: Rehearsal) -> None:
    status, output = rehearsal.build("-var", "region=")
    assert status == 1
    assert "could not find region configuration" in output
    assert rehearsal.amazon.asked("DescribeImages") == []
