"""Baking an AMI: Packer on an instance of EC2, judged before its image is made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bakehouse import judge, layout, scratch
from bakehouse.builder import host_configuration, identity, ledger, plan
from bakehouse.builder.buildkit import Step
from bakehouse.builder.inputs import stack_of
from bakehouse.builder.result import Layer
from bakehouse.errors import BuildError, InputError
from bakehouse.images import Image, get_image, load_images
from bakehouse.machines import judgement, judging, packer, told
from bakehouse.machines.ami_source import Source, Wanted
from bakehouse.machines.plan import key_of
from bakehouse.report.content import Report
from bakehouse.stacks.constraints import refuse_broken
from bakehouse.stacks.stack import Stack

_OPTIONS = ("region", "architecture", "distribution", "source_ami")
"""Variables that have an option of their own, since the source AMI depends on them."""

_END_S = 600
"""An interrupted Packer waits until the instance is terminated before it removes the rest."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """One AMI to be baked.

    Attributes:
        image: As in images.yml.
        wanted: What for.
        source: What it starts from.
        region: Where.
        variables: More values for the template's variables, by name.
        allow_broken_stack: Bake although the stack breaks a rule.
    """

    image: Image
    wanted: Wanted
    source: Source
    region: str
    variables: Mapping[str, str] = field(default_factory=dict)
    allow_broken_stack: bool = False


@dataclass(frozen=True, kw_only=True)
class Baked:
    """What came of it.

    Attributes:
        amis: Id by region, copies included.
        build: Build id.
        folder: Where report, SBOM, provenance and logs are.
        layers: The roles with their times.
    """

    amis: dict[str, str]
    build: str
    folder: Path
    layers: list[Layer]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        layers = [asdict(layer) for layer in self.layers]
        return {
            "amis": self.amis, "build": self.build, "folder": str(self.folder), "layers": layers,
        }  # fmt: skip


def chosen(names: Sequence[str], *, every: bool) -> list[Image]:
    """The images that are meant.

    Raises:
        InputError: There is none of a name, or none or too much is given.
    """
    if every == bool(names):
        remedy = "name images, or give --all"
        raise InputError("which AMIs?", where="bakehouse ami build", remedy=remedy)
    if every:
        return [image for image in load_images().values() if image.ami]
    return [get_image(name) for name in names]


def variables(given: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` by name.

    Raises:
        InputError: One is not of that form, or has an option of its own.
    """
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals) or name in _OPTIONS:
            remedy = f"use --{name.replace('_', '-')}" if name in _OPTIONS else "write NAME=VALUE"
            raise InputError("this is no variable to give", where=f"--var {text}", remedy=remedy)
        found[name] = value
    return found


def bake(order: Order) -> Baked:
    """Bake, judge, and write what is known of the AMI to `out/<image>/ami/`.

    Raises:
        InputError: The stack breaks a rule, or a role does not exist.
        BuildError: A role failed, or the machine's judgement; there is no AMI.
        HostError: There is no Packer.
    """
    stack = stack_of(order.image)
    refuse_broken(stack, allow=order.allow_broken_stack)
    whole = key_of(order.image, stack, f"{order.region}/{order.source.id}")
    folder = layout.OUT / order.image.name / "ami"
    folder.mkdir(parents=True, exist_ok=True)
    judged = folder / "judged.json"
    build = plan.build_id(whole)
    with (
        host_configuration.files(f"{order.image.name}-ami") as host,
        scratch.folder("packer") as temporary,
    ):
        variables = temporary / "variables.json"
        variables.write_text(
            json.dumps(told.variables(order.image, stack, build, host)), encoding="utf-8"
        )
        manifest = folder / "packer-manifest.json"
        call = packer.Call(
            image=order.image.name,
            stack=stack.name,
            layers=told.layers(order.image, whole, {}, {}),
            only="amazon-ebs",
            given=_given(order, stack, build) | {"variables_file": variables, "manifest": manifest},
            temporary=temporary,
            log=folder / "packer.log",
            end_s=_END_S,
            judged=judged,
        )
        steps = packer.run(call)
    found = json.loads(judged.read_text(encoding="utf-8"))
    baked = Baked(
        amis=_amis(manifest),
        build=build,
        folder=folder,
        layers=told.layers(order.image, whole, steps, judgement.sizes(found, steps)),
    )
    _remember(order, steps)
    report = _report(order, stack, baked, found)
    judge.write(report, stack, folder)
    (folder / "layers.json").write_text(json.dumps(report.build, indent=1) + "\n", encoding="utf-8")
    (folder / "stack.yml").write_bytes(stack.path.read_bytes())
    return baked


def _remember(order: Order, steps: Mapping[str, Step]) -> None:
    """Times of the roles, for `bakehouse plan`."""
    for name, step in steps.items():
        layer = plan.Layer(
            name=name, kind="role", files={}, digests={}, variables={}, key=order.source.id
        )
        ledger.record(f"{order.image.name}-ami", layer, order.source.id, round(step.seconds, 2))


def _given(order: Order, stack: Stack, build: str) -> dict[str, object]:
    """Values of the variables of packer/."""
    return {
        "region": order.region,
        "source_ami": order.source.id,
        "distribution": order.wanted.distribution,
        "architecture": order.wanted.architecture,
        "namespace": layout.NAMESPACE,
        "stack": stack.name,
        "build": build,
        "commit": identity.commit(order.image, stack),
        "judge": judging.PROGRAM,
        **order.variables,
        "image": order.image.name,
    }


def _amis(manifest: Path) -> dict[str, str]:
    """Id by region, as Packer wrote them: `us-west-2:ami-1,eu-west-1:ami-2`."""
    builds = json.loads(manifest.read_text(encoding="utf-8"))["builds"]
    if not builds:
        raise BuildError("Packer made no AMI", where=str(manifest), remedy="see packer.log")
    pairs = (text.partition(":") for text in builds[-1]["artifact_id"].split(","))
    return {region: ami for region, _, ami in pairs}


def _report(order: Order, stack: Stack, baked: Baked, found: dict[str, Any]) -> Report:
    build = {
        "image": order.image.name,
        "build": baked.build,
        "key": baked.layers[0].key if baked.layers else "",
        "source_ami": asdict(order.source),
        "amis": baked.amis,
        "layers": [asdict(layer) for layer in baked.layers],
    }
    ami = baked.amis[order.region]
    return judgement.report(found, image=order.image.name, image_id=ami, stack=stack, build=build)
