"""`bakehouse disk`."""

import json
from typing import Annotated

import typer

from bakehouse.console import progress
from bakehouse.images import load_images

HELP = """Disks of machine images: qcow2 and raw, booted before they are kept.

Example:

    bakehouse disk build cpu-node
"""
BUILD_HELP = """
Build an image, write its disk, and boot it to prove it.

Needs neither a cloud nor KVM. In qemu the disk boots, is judged over ssh by the host tests of its
roles and by its own checks, boots again and is judged again; then two clones run side by side and
must share no identity. `out/<image>/disk/` has the disk as qcow2 and raw with checksums, report,
SBOMs and signed provenance. Emulated, that takes 10 to 20 minutes on two cores.

Examples:

    bakehouse disk build cpu-node

    bakehouse disk build pcluster-cpu --accelerator kvm

    bakehouse disk build debian-12-node --no-proof      # what Packer's qemu source starts from

Exit status: 0 the disk is there; 2 wrong input; 3 a tool is missing; 5 it failed, and the disk that
was there before stays.
"""


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""
    group = typer.Typer(help=HELP, no_args_is_help=True)
    group.command(name="build", help=BUILD_HELP)(build)
    application.add_typer(group, name="disk")


def _images() -> list[str]:
    return [image.name for image in load_images().values() if image.disk]


def build(
    image: Annotated[
        str, typer.Argument(help="Image with a disk in images.yml.", autocompletion=_images)
    ],
    accelerator: Annotated[
        str, typer.Option(help="Of qemu: auto (KVM where it works), kvm or tcg.")
    ] = "auto",
    proof: Annotated[bool, typer.Option(help="Boot it, and judge it.")] = True,
    booted: Annotated[
        bool,
        typer.Option(
            "--booted", help="Roles run on a booted machine (Packer's qemu source); wants KVM."
        ),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Write and prove it even if nothing has changed.")
    ] = False,
    allow_broken_stack: Annotated[
        bool, typer.Option("--allow-broken-stack", help="Build although a rule is broken.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Where it is, as JSON.")] = False,
) -> None:
    """Make the disk."""
    from bakehouse.builder.result import Options
    from bakehouse.machines.disk_bake import Order, bake, with_disk

    order = Order(
        image=with_disk(image),
        accelerator=accelerator,
        proven=proof,
        again=again,
        booted=booted,
        options=Options(allow_broken_stack=allow_broken_stack),
    )
    folder = bake(order)
    if as_json:
        files = sorted(str(path) for path in folder.iterdir())
        typer.echo(json.dumps({"image": image, "folder": str(folder), "files": files}, indent=1))
    else:
        progress.print(f"disk: {folder}", highlight=False)
