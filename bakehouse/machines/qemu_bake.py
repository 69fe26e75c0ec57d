"""Baking a disk on a machine that has booted: Packer's qemu source. Wants KVM."""

import json
from pathlib import Path

from bakehouse import layout, scratch
from bakehouse.builder import host_configuration, identity, plan
from bakehouse.builder.result import BuildResult
from bakehouse.images import Image
from bakehouse.machines import disk_image, judgement, judging, packer, told, virtual
from bakehouse.machines.disk_image import Disk
from bakehouse.machines.plan import key_of
from bakehouse.machines.virtual import Hardware
from bakehouse.stacks.constraints import refuse_broken
from bakehouse.stacks.stack import Stack

_END_S = 60
"""Packer ends its machine at once, and copies nothing."""


def planned(image: Image, stack: Stack, base: Disk) -> BuildResult:
    """The build as decided; nothing has run.

    Args:
        image: What the disk becomes.
        stack: Of what.
        base: The disk that it starts from.
    """
    key = key_of(image, stack, f"qemu/{disk_image.digest(base.qcow2)}")
    return BuildResult(
        image=image.name,
        build=plan.build_id(key),
        key=key,
        image_id=f"sha256:{key}",
        seconds=0.0,
        layers=told.layers(image, key, {}, {}),
    )


def bake(
    image: Image,
    stack: Stack,
    base: Disk,
    folder: Path,
    hardware: Hardware,
    *,
    allow_broken_stack: bool = False,
) -> tuple[Disk, BuildResult]:
    """Have the roles run on a machine that boots a disk; it is judged before it is shut down.

    Args:
        image: What the disk becomes.
        stack: Of what.
        base: The disk that it starts from; nothing is written to it.
        folder: Where the disk, packer.log and judged.json go; must exist.
        hardware: What the machine has.
        allow_broken_stack: Bake although the stack breaks a rule.

    Returns:
        The disk, and the build with the times of its roles.

    Raises:
        InputError: The stack breaks a rule.
        BuildError: A role failed, or the judgement.
        HostError: There is no Packer, or qemu-img is missing.
    """
    refuse_broken(stack, allow=allow_broken_stack)
    build = planned(image, stack, base)
    name = f"{image.name}-{build.build[:12]}"
    judged = layout.OUT / image.name / "judged.json"
    judged.unlink(missing_ok=True)
    with (
        host_configuration.files(f"{image.name}-disk") as host,
        scratch.folder("packer") as temporary,
    ):
        variables = temporary / "variables.json"
        variables.write_text(
            json.dumps(told.variables(image, stack, build.build, host)), encoding="utf-8"
        )
        given = {
            "image": image.name,
            "namespace": layout.NAMESPACE,
            "stack": stack.name,
            "build": build.build,
            "commit": identity.commit(image, stack),
            "judge": judging.PROGRAM,
            "variables_file": variables,
            "manifest": temporary / "packer-manifest.json",
            "base_disk": base.qcow2.resolve(),
            "base_checksum": f"sha256:{disk_image.digest(base.qcow2)}",
            "disk_folder": folder / "packer",
            "console": folder / "packer.console.log",
            "seed": virtual.seed("baked", temporary),
            "ssh_private_key_file": temporary / "key",
            "accelerator": hardware.accelerator,
            "cpus": hardware.cpus,
            "memory_mb": hardware.memory_mb,
        }
        steps = packer.run(
            packer.Call(
                image=image.name,
                stack=stack.name,
                layers=build.layers,
                only="qemu",
                given=given,
                temporary=temporary,
                log=layout.OUT / image.name / "packer.log",
                end_s=_END_S,
                judged=judged,
            )
        )
    found = json.loads(judged.read_text(encoding="utf-8"))
    layers = told.layers(image, build.key, steps, judgement.sizes(found, steps))
    disk = disk_image.gathered(folder / "packer" / "disk.qcow2", folder, name)
    return disk, BuildResult(**{**build.__dict__, "layers": layers})
