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
from tiny_tree import FAILING, MACHINE_BASE, SLEEPING, Finished, Tree, processes, wait_for

from bakehouse import scratch
from bakehouse.engine import StartedContainer
from bakehouse.machines import template
from bakehouse.systemd import booted_container

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

JUDGE = ("-var", f"judge={Path(sys.executable).with_name('bakehouse-judge')}")


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
        _, output = self.machine.exec_run(["sh", "-c", "ls /opt/stamps; rm -rf /opt/stamps"])
        return sorted(output.decode().split())

    def bakehouse(self, *options: str) -> Finished:
        """`bakehouse ami build` to its end."""
        self._adapt(self.tree.root / "packer" / "amazon.pkr.hcl")
        done = subprocess.run(
            self.tree.command("ami", "build", self.tree.image, "--region", REGION, *options),
            env={
                **os.environ,
                **CREDENTIALS,
                **self.tree.places(),
                "AWS_ENDPOINT_URL": self.amazon.url,
                "TMPDIR": str(self.temporary),
            },
            capture_output=True,
            text=True,
            timeout=180,
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


@pytest.fixture(scope="module")
def amazon() -> Iterator[Amazon]:
    with serving() as amazon:
        yield amazon


@pytest.fixture(scope="module")
def machine(machine_base: str, amazon: Amazon) -> Iterator[StartedContainer]:
    """A machine that lets in whoever has a key pair of EC2's."""
    with booted_container(machine_base) as machine:
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
def rehearsal(amazon: Amazon, machine: StartedContainer, tmp_path: Path) -> Iterator[Rehearsal]:
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
    with scratch.folder("rehearsal") as temporary:  # short enough for ssh's sockets
        yield Rehearsal(amazon=amazon, machine=machine, tree=tree, temporary=temporary)


def test_an_ami_is_baked_tagged_and_copied(rehearsal: Rehearsal) -> None:
    status, output = rehearsal.build("-var", f'copy_to_regions=["{COPY_REGION}"]')
    assert status == 0, output
    (image,) = rehearsal.images()
    (copy,) = rehearsal.images(COPY_REGION)
    assert image["Name"] == copy["Name"]
    assert re.fullmatch(r"bakehouse-rehearsal-amazon-2023-x86_64-\d{14}", str(image["Name"]))
    tags = tags_of(image)
    assert tags == tags_of(copy)
    assert tags["bakehouse:checks"] == "not run"
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


def test_an_ami_whose_machine_was_judged_says_so(rehearsal: Rehearsal) -> None:
    status, output = rehearsal.build(*JUDGE)
    assert status == 0, output
    assert "judged: 4 passed, 0 failed" in output
    (image,) = rehearsal.images()
    assert tags_of(image)["bakehouse:checks"] == "passed"
    found = json.loads(rehearsal.judged.read_text())
    assert {r["id"]: r["status"] for r in found["results"]} == {
        "one-test_stamp": "pass",
        "two-test_stamp": "pass",
        "last-test_stamp": "pass",
        "root-device-room": "pass",
    }
    assert set(found["facts"]) == {"stamp of one", "stamp of two", "stamp of last"}
    assert "sudo" in {package["name"] for package in found["inventory"]["packages"]}
    assert found["used_bytes"] > 0


def test_a_machine_that_fails_its_tests_makes_no_ami(rehearsal: Rehearsal) -> None:
    rehearsal.tree.host_tests("host.file('/opt/never').exists")
    status, output = rehearsal.build(*JUDGE)
    assert status == 1
    assert "fatal: one-test_stamp: AssertionError" in output
    assert "judged: 1 passed, 3 failed" in output
    assert (rehearsal.left(), rehearsal.images()) == ([], [])


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


def test_the_command_line_bakes_judges_and_reports(rehearsal: Rehearsal) -> None:
    finished = rehearsal.bakehouse("--json", "--var", 'tags={team="training"}')
    assert finished.status == 0, finished.stderr
    (baked,) = finished.results
    (image,) = rehearsal.images()
    assert baked["amis"] == {REGION: image["ImageId"]}
    tags = tags_of(image)
    assert (tags["bakehouse:checks"], tags["team"]) == ("passed", "training")
    assert tags["bakehouse:build"] == baked["build"]
    folder = Path(baked["folder"])
    report = json.loads((folder / "report.json").read_text())
    assert (report["verdict"], report["image_id"]) == ("pass", image["ImageId"])
    assert report["build"]["source_ami"]["id"] == tags["bakehouse:source-ami"]
    assert "sudo" in report["packages"]["deb"]
    layers = {
        layer["name"]: layer for layer in json.loads((folder / "layers.json").read_text())["layers"]
    }
    assert layers["one"]["seconds"] > 0
    assert layers["one"]["bytes"] > 0
    assert [task["name"] for task in layers["one"]["tasks"]][-1] == "Leave a stamp"
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "sbom.cdx.json",
        "sbom.spdx.json",
        "provenance.json",
        "stack.yml",
        "packer.log",
    }
    assert list(rehearsal.temporary.glob("bakehouse-*")) == []
    assert list(rehearsal.temporary.glob("ansible-key*")) == []


def test_the_command_line_names_the_role_that_failed(rehearsal: Rehearsal) -> None:
    rehearsal.tree.role("two", FAILING)
    finished = rehearsal.bakehouse()
    assert finished.status == 5
    assert "error: rehearsal, role two: the bake failed" in finished.stderr
    assert "/opt/other-half: No such file or directory" in finished.stderr
    assert (rehearsal.left(), rehearsal.images()) == ([], [])


def test_the_command_line_says_which_host_test_failed(rehearsal: Rehearsal) -> None:
    rehearsal.tree.host_tests("host.file('/opt/never').exists")
    finished = rehearsal.bakehouse()
    assert finished.status == 5
    assert "two-test_stamp: AssertionError" in finished.stderr
    assert "remedy: look at the role two" in finished.stderr
    assert str(rehearsal.tree.root / "out/rehearsal/ami/judged.json") in finished.stderr
    assert (rehearsal.left(), rehearsal.images()) == ([], [])


def test_a_budget_that_is_exceeded_makes_no_ami(rehearsal: Rehearsal) -> None:
    rehearsal.tree.entry["budget"] = {"minutes": 0.01, "gb": 0.02}
    rehearsal.tree.role("two", tiny_tree.WRITING_30_MB + tiny_tree.TAKING_TWO_SECONDS)
    finished = rehearsal.bakehouse()
    assert finished.status == 5
    assert re.search(r"size-budget: \d+\.\d+ GB, at most 0\.02 GB", finished.stderr)
    assert re.search(r"time-budget: \d+\.\d+ minutes, at most 0\.01", finished.stderr)
    assert re.search(r"most was written by: two 3[0-3] MB", finished.stderr)
    assert re.search(r"most time was taken by: two \d", finished.stderr)
    assert (rehearsal.left(), rehearsal.images()) == ([], [])
