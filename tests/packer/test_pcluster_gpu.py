"""The AMI of `pcluster-gpu`, whole: its own roles, checks and host tests, over a real ssh.

A mirror stands in for the vendors, a container of Debian 12 for Ubuntu, moto for AWS's API. What
this cannot show is whether AWS answers so, and whether the AMI boots.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from amazon import COPY_REGION, REGION, Amazon, serving
from ami_rehearsal import Rehearsal, instance, root_device, tags_of
from documented_steps import copy_repository
from source_image import bring
from tiny_tree import Tree
from vendor_mirror import platforms
from vendor_mirror.prepared import prepared, volumes

from bakehouse import host_tests, scratch
from bakehouse.images import get_image
from bakehouse.machines import ami_source
from bakehouse.playbooks import load_playbook
from bakehouse.systemd import booted_container

pytestmark = [pytest.mark.docker, pytest.mark.slow]

IMAGE = get_image("pcluster-gpu")
SYSTEM, DISTRIBUTION = "ubuntu24.04", "ubuntu-24.04"
ROLES = load_playbook(str(IMAGE.playbook)).roles
LAST = "image_cleanup"
LIMIT_S = 1500
TAGS_AT_MOST, TAG_LENGTH_AT_MOST = 50, 256
"""AWS's, which moto does not mind."""


@dataclass(frozen=True, kw_only=True)
class Bake:
    """A bake that has ended well.

    Attributes:
        source: Id of the AMI that it started from.
        stack: The records that it was told.
        result: What the command line printed.
    """

    rehearsal: Rehearsal
    source: str
    stack: dict[str, Any]
    result: dict[str, Any]

    @property
    def folder(self) -> Path:
        """What is left beside the AMI."""
        return Path(self.result["folder"])

    @property
    def report(self) -> dict[str, Any]:
        """What is known of the image."""
        return dict(json.loads((self.folder / "report.json").read_text()))

    @property
    def ami(self) -> dict[str, Any]:
        """The AMI, as the API shows it."""
        (found,) = self.rehearsal.images()
        return found


@pytest.fixture(scope="module")
def amazon() -> Iterator[Amazon]:
    with serving() as amazon:
        amazon.reset()
        yield amazon


@pytest.fixture(scope="module")
def bake(amazon: Amazon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bake]:
    folder = prepared(str(IMAGE.stack), SYSTEM)
    stack = json.loads((folder / "stack.json").read_text())
    tree = whole_tree(tmp_path_factory.mktemp("whole") / "tree", stack)
    mounts = tuple(volumes(folder, SYSTEM))
    with (
        booted_container(platforms.image(SYSTEM), mounts=mounts) as machine,
        instance(machine, amazon, "ubuntu"),
        scratch.folder("rehearsal") as temporary,  # short enough for ssh's sockets
    ):
        status, output = machine.exec_run(["sh", "-c", bring(SYSTEM)])
        assert status == 0, output.decode()
        name = ami_source.wanted(IMAGE, DISTRIBUTION).name
        source = amazon.offer(name.replace("*", "202609081713"))
        rehearsal = Rehearsal(amazon=amazon, machine=machine, tree=tree, temporary=temporary)
        finished = rehearsal.bakehouse(
            "--json", "--distribution", DISTRIBUTION,
            "--var", "encrypt=true", "--var", f'copy_to_regions=["{COPY_REGION}"]',
            # The engine is Debian 12's, which a rule of the stack finds too old.
            "--allow-broken-stack",
            limit_s=LIMIT_S,
        )  # fmt: skip
        assert finished.status == 0, finished.stderr
        (result,) = finished.results
        yield Bake(rehearsal=rehearsal, source=source, stack=stack, result=result)


def whole_tree(root: Path, stack: dict[str, Any]) -> Tree:
    """The repository, with the mirror's digests and keys in the stack, and told of the mirror."""
    copy_repository(root)
    mirrors = root / "mirrors.yml"
    mirrors.write_text(json.dumps(stack.pop("bakehouse_mirrors")))
    (root / "stacks" / f"{IMAGE.stack}.yml").write_text(json.dumps(stack, indent=1))
    told = {"BAKEHOUSE_MIRRORS": str(mirrors), "BAKEHOUSE_STATE": str(root / ".bakehouse")}
    return Tree(root=root, image=IMAGE.name, roles=list(ROLES), environment=told)


def test_every_role_of_the_playbook_has_run(bake: Bake) -> None:
    layers = bake.result["layers"]
    assert [layer["name"] for layer in layers] == list(ROLES)
    assert [layer["name"] for layer in layers if not (layer["seconds"] and layer["tasks"])] == []


def test_the_machine_was_judged_before_it_was_cleaned_and_before_there_was_an_image(
    bake: Bake,
) -> None:
    log = (bake.folder / "packer.log").read_text()
    moments = [r"judged: \d+ passed, 0 failed\n", rf"TASK \[{LAST} : ", r"Creating AMI "]
    places = [[found.start() for found in re.finditer(each, log)] for each in moments]
    assert all(places)
    assert max(places[0]) < min(places[1]) < max(places[1]) < min(places[2])


def test_nothing_failed_and_every_role_was_looked_at(bake: Bake) -> None:
    report = bake.report
    assert report["verdict"] == "pass"
    assert [r["id"] for r in report["results"] if r["status"] == "fail"] == []
    passed = [r for r in report["results"] if r["status"] == "pass"]
    judged = {Path(r["source"]).stem for r in passed if r["group"] == "host"}
    assert judged == {f"test_{role}" for role in ROLES if role != LAST}
    assert {r["group"] for r in passed} >= set(IMAGE.checks) - {"hygiene"}


def test_what_the_image_is_made_of_was_cleaned(bake: Bake) -> None:
    """The container is now what EC2 would take its snapshot of."""
    host = host_tests.container(str(bake.rehearsal.machine.name))
    stack: Any = SimpleNamespace(variables=bake.stack, records={})
    verdict = host_tests.run(host, [LAST], stack, target="machine", booted=False)
    assert [f"{r.id}: {r.reason}" for r in verdict.results if r.status != "pass"] == []


def test_evidence_lies_beside_it(bake: Bake) -> None:
    names = {path.name for path in bake.folder.iterdir()}
    assert names >= {
        "report.json", "report.html", "layers.json", "stack.yml", "packer-manifest.json",
        "sbom.cdx.json", "sbom.spdx.json", "provenance.json", "provenance.pub", "packer.log",
    }  # fmt: skip
    assert json.loads((bake.folder / "stack.yml").read_text()) == bake.stack
    assert bake.report["image_id"] == bake.ami["ImageId"]
    assert bake.report["build"]["source_ami"]["id"] == bake.source
    components = json.loads((bake.folder / "sbom.cdx.json").read_text())["components"]
    found = {component["name"]: component["version"] for component in components}
    driver = bake.stack["nvidia_driver_release"]["version"]
    assert found["nvidia-dkms-open"].startswith(driver)


def test_the_ami_says_what_it_is(bake: Bake) -> None:
    assert re.fullmatch(rf"bakehouse-{IMAGE.name}-{DISTRIBUTION}-x86_64-\d{{14}}", bake.ami["Name"])
    tags = tags_of(bake.ami)
    identity = bake.report["identity"]
    expected = {
        f"bakehouse:component:{name.removesuffix('_release')}": record["version"]
        for name, record in bake.stack.items()
    } | {
        "bakehouse:image": IMAGE.name,
        "bakehouse:build": bake.result["build"],
        "bakehouse:commit": identity["commit"],
        "bakehouse:distribution": DISTRIBUTION,
        "bakehouse:architecture": "x86_64",
        "bakehouse:source-ami": bake.source,
        "bakehouse:checks": "passed",
    }
    assert tags.items() >= expected.items()
    assert tags["bakehouse:stack"].startswith(f"{IMAGE.stack}@sha256:")
    assert (identity["image"], identity["build"]) == (IMAGE.name, bake.result["build"])
    assert len(tags) <= TAGS_AT_MOST
    assert max(len(value) for value in tags.values()) <= TAG_LENGTH_AT_MOST


def test_the_copy_says_the_same(bake: Bake) -> None:
    (copy,) = bake.rehearsal.images(COPY_REGION)
    assert (copy["Name"], tags_of(copy)) == (bake.ami["Name"], tags_of(bake.ami))
    made = {REGION: bake.ami["ImageId"], COPY_REGION: copy["ImageId"]}
    assert bake.result["amis"] == made


def test_ec2_was_asked_for_what_images_yml_says(bake: Bake) -> None:
    amazon, ami = bake.rehearsal.amazon, IMAGE.ami
    assert ami is not None
    (run,) = amazon.asked("RunInstances")
    assert (run["ImageId"], run["InstanceType"]) == (bake.source, ami.instance_types["x86_64"])
    assert run.items() >= root_device(ami.root_gb, name="/dev/sda1").items()
    assert ami.root_gb == 100
    copies = amazon.asked("CopyImage")
    assert [copy["Encrypted"] for copy in copies] == ["true"] * len(copies)
    assert len(copies) == 2  # one takes the place of what was not encrypted
    assert any(request.get("EnaSupport.Value") == "true" for request in amazon.requests)
    assert any(request.get("SriovNetSupport.Value") == "simple" for request in amazon.requests)


def test_nothing_is_left_that_costs_something_or_lets_somebody_in(bake: Bake) -> None:
    assert bake.rehearsal.left() == []
    patterns = ("bakehouse-*", "ansible-key*")
    temporary = bake.rehearsal.temporary
    assert [path for pattern in patterns for path in temporary.glob(pattern)] == []
