"""`bakehouse ami`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakehouse.console import progress, results

if TYPE_CHECKING:
    from bakehouse.machines.ami import Ami
    from bakehouse.machines.ami_steps import Outcome, Step

HELP = """AMIs: build, and after it promote, deprecate, prune, compare.

Only AMIs and snapshots with the tag `bakehouse:image` are ever touched, and what changes something
only says what it would do until `--apply` is given.

Examples:

    bakehouse ami build pcluster-gpu --region eu-central-1

    bakehouse ami list --region eu-central-1

    bakehouse ami promote ami-0123456789abcdef0 --region eu-central-1 --region us-east-1

    bakehouse ami prune --keep 3 --older-than 30d
"""
BUILD_HELP = """Bake AMIs on instances of EC2; each is judged before its image is made.

`--var` gives variables of `packer/`: what there are is in packer/amazon_variables.pkr.hcl.
Report, SBOM, provenance, times and Packer's log are in `out/<image>/ami/`.

Examples:

    bakehouse ami build pcluster-gpu --region us-west-2

    bakehouse ami build base-gpu --architecture arm64 --distribution amazon-2023

    bakehouse ami build eks-gpu --var spot=true --var 'copy_to_regions=["eu-west-1"]'

    bakehouse ami build --all --region us-west-2
"""
LIST_HELP = """List our AMIs: what they are, their checks, their channel.

Examples:

    bakehouse ami list --image pcluster-gpu --region eu-central-1 --region us-east-1

    bakehouse ami list --json | jq -r '.[] | select(.channel == "stable") | .ami'
"""
PROMOTE_HELP = """Give an AMI a channel, and take it from the one that had it.

The one that had it: of the same image, distribution and architecture, in that region. With several
regions the AMI is looked for in each, in order, and in the others its copy, which is the AMI of the
same build, is promoted. An AMI whose checks are not passed is refused.

Examples:

    bakehouse ami promote ami-0123456789abcdef0

    bakehouse ami promote ami-0123456789abcdef0 --share 123456789012 --apply

    bakehouse ami promote ami-0123456789abcdef0 --channel next --region eu-west-1 --region us-east-1
"""
DEPRECATE_HELP = """Deprecate an AMI from a day on; with several regions its copies as well.

From then on other accounts no longer find it; who knows its id can still launch it.

Examples:

    bakehouse ami deprecate ami-0123456789abcdef0 --on 2027-01-31

    bakehouse ami deprecate ami-0123456789abcdef0 --in 90d --apply
"""
PRUNE_HELP = """Remove old AMIs, and the snapshots that only they need.

Of each image, distribution, architecture and region stay: the newest, those with a channel, those
younger than `--older-than`, and those that an instance (terminated ones aside), a version of a
launch template, or a launch configuration of this account names. Says of each why it stays.

Examples:

    bakehouse ami prune --region eu-central-1

    bakehouse ami prune --image pcluster-gpu --keep 5 --older-than 12w --apply
"""
DIFF_HELP = """Say what differs between two AMIs: components, build, size, block devices, machine.

Examples:

    bakehouse ami diff ami-0123456789abcdef0 ami-0fedcba9876543210

    bakehouse ami diff ami-0123456789abcdef0 ami-0fedcba9876543210 --json | jq .components

Exit status: 0, whatever differs; 2 wrong input; 3 AWS cannot be asked.
"""


def _images(incomplete: str) -> list[str]:
    from bakehouse.machines.ami_selection import machine_images

    return [name for name in machine_images() if name.startswith(incomplete)]


Id = Annotated[str, typer.Argument(metavar="AMI", help="ami-…")]
Regions = Annotated[
    list[str] | None,
    typer.Option("--region", help="Repeatable; default: AWS_REGION or your AWS profile's."),
]
ImageName = Annotated[
    str | None, typer.Option("--image", help="Only of this image.", autocompletion=_images)
]
Apply = Annotated[bool, typer.Option("--apply", help="Do it; otherwise it is only told.")]
Json = Annotated[bool, typer.Option("--json", help="Result as JSON.")]


def register(application: typer.Typer) -> None:
    """Add this command group to the command line."""
    group = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="markdown")
    group.command(name="build", help=BUILD_HELP)(build)
    group.command(name="list", help=LIST_HELP)(list_amis)
    group.command(name="promote", help=PROMOTE_HELP)(promote)
    group.command(name="deprecate", help=DEPRECATE_HELP)(deprecate)
    group.command(name="prune", help=PRUNE_HELP)(prune)
    group.command(name="diff", help=DIFF_HELP)(diff)
    application.add_typer(group, name="ami")


def build(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE", help="Names from images.yml.", autocompletion=_images),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are made as AMIs.")] = False,
    region: Annotated[str, typer.Option(help="Default: AWS_REGION or your AWS profile's.")] = "",
    architecture: Annotated[str, typer.Option(help="x86_64 or arm64.")] = "x86_64",
    distribution: Annotated[str, typer.Option(help="Default: the image's first.")] = "",
    source_ami: Annotated[str, typer.Option(help="Default: the newest that is found.")] = "",
    var: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of packer/. Repeatable.")
    ] = None,
    allow_broken_stack: Annotated[
        bool, typer.Option("--allow-broken-stack", help="Bake although a rule is broken.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bake AMIs, one after the other."""
    from bakehouse.machines import ami_bake, ami_source, aws

    given = ami_bake.variables(var or [])
    (there,) = aws.regions([region] if region else [])
    orders = []
    for image in ami_bake.chosen(names or [], every=every):
        wanted = ami_source.wanted(image, distribution, architecture)
        orders.append(
            ami_bake.Order(
                image=image,
                wanted=wanted,
                source=ami_source.find(wanted, there, source_ami),
                region=there.name,
                variables=given,
                allow_broken_stack=allow_broken_stack,
            )
        )
    baked = []
    for order in orders:
        baked.append(ami_bake.bake(order))
        if not as_json:
            for place, ami in baked[-1].amis.items():
                results.print(f"{order.image.name}: {ami} in {place}", highlight=False)
    if as_json:
        results.print_json(data=[each.as_json() for each in baked])


def list_amis(image: ImageName = None, region: Regions = None, as_json: Json = False) -> None:
    """Print our AMIs."""
    from bakehouse.machines import ami_selection, aws

    asked = aws.regions(region or [])
    all_of_them = [ami for each in asked for ami in each.amis()]
    ami_selection.check_image(image, all_of_them)
    amis = ami_selection.ours(all_of_them, image)
    if as_json:
        results.print_json(data=[ami.as_json() for ami in amis])
    elif not amis:
        places = ", ".join(each.name for each in asked)
        progress.print(f"no AMI of {image or 'Bakehouse'} in {places}")
    else:
        _show(amis)


def promote(
    ami: Id,
    channel: Annotated[str, typer.Option(help="What machines look for.")] = "stable",
    share: Annotated[
        list[str] | None,
        typer.Option(metavar="ACCOUNT", help="May launch and copy it. Repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Even if checks did not pass.")] = False,
    region: Regions = None,
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Move a channel to an AMI."""
    from bakehouse.machines import ami_promotion, ami_selection, aws

    wanted = ami_promotion.Promotion(channel=channel, accounts=share or [], force=force)
    placed = ami_selection.with_copies(ami, aws.regions(region or []))
    steps, warnings = ami_promotion.plan(wanted, placed)
    _finish(steps, warnings, apply=apply, as_json=as_json)


def deprecate(
    ami: Id,
    on: Annotated[str | None, typer.Option(metavar="DATE", help="2027-01-31, UTC.")] = None,
    after: Annotated[str | None, typer.Option("--in", metavar="SPAN", help="90d, 12w.")] = None,
    region: Regions = None,
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Deprecate an AMI and its copies."""
    from bakehouse.machines import ami_deprecation, ami_selection, aws

    when = ami_deprecation.moment(on, after, datetime.now(UTC))
    placed = ami_selection.with_copies(ami, aws.regions(region or []))
    steps, warnings = ami_deprecation.plan(placed, when)
    _finish(steps, warnings, apply=apply, as_json=as_json)


def prune(
    image: ImageName = None,
    keep: Annotated[int, typer.Option(min=0, help="Newest of each kind that stay.")] = 3,
    older_than: Annotated[str, typer.Option(metavar="SPAN", help="Younger ones stay.")] = "30d",
    region: Regions = None,
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Remove old AMIs."""
    from bakehouse.machines import ami_pruning, ami_selection, aws
    from bakehouse.machines.ami_deprecation import parse_span

    rules = ami_pruning.Rules(
        image=image,
        keep=keep,
        older_than=parse_span("--older-than", older_than),
        now=datetime.now(UTC),
    )
    there = [(each, each.amis()) for each in aws.regions(region or [])]
    ami_selection.check_image(image, [ami for _, amis in there for ami in amis])
    planned = [(each, ami_pruning.plan(amis, each, rules)) for each, amis in there]
    steps = [step for each, verdicts in planned for step in ami_pruning.steps(verdicts, each)]
    verdicts = [verdict for _, found in planned for verdict in found]
    for line in () if as_json else ami_pruning.explanations(verdicts):
        results.print(line, markup=False, highlight=False)
    details = {"amis": [verdict.as_json() for verdict in verdicts]}
    _finish(steps, [], apply=apply, as_json=as_json, details=details)


def diff(before: Id, after: Id, region: Regions = None, as_json: Json = False) -> None:
    """Compare two AMIs."""
    from bakehouse.commands.diff import show
    from bakehouse.machines import ami_selection, aws
    from bakehouse.machines.ami_difference import difference

    asked = aws.regions(region or [])
    one, other = (ami_selection.find(each, asked).ami for each in (before, after))
    found = difference(one, other)
    if as_json:
        results.print_json(data=found)
    elif not found:
        results.print("no difference")
    else:
        show(before, after, found)


def _finish(
    steps: "Sequence[Step]",
    warnings: Sequence[str],
    *,
    apply: bool,
    as_json: bool,
    details: dict[str, Any] | None = None,
) -> None:
    """Tell the steps, and make them if so asked; raises what made them stop."""
    from bakehouse.machines.ami_steps import Outcome

    for text in warnings:
        progress.print(f"warning: {text}", markup=False, style="bold red")
    outcome = _carried_out(steps) if apply else Outcome(left=steps)
    if as_json:
        told = {"applied": apply, **(details or {}), "warnings": list(warnings)}
        results.print_json(data={**told, "steps": outcome.as_json()})
    elif not steps:
        progress.print("nothing to do")
    elif not apply:
        for step in steps:
            results.print(f"would: {step}", markup=False, highlight=False)
        progress.print("nothing changed; --apply does it")
    outcome.refuse()


def _carried_out(steps: "Sequence[Step]") -> "Outcome":
    from bakehouse.machines.ami_steps import carry_out

    left = list(steps)

    def tell(step: "Step") -> None:
        left.remove(step)
        progress.print(f"done: {step}", markup=False)

    try:
        return carry_out(steps, tell)
    except KeyboardInterrupt:
        for step in left:
            progress.print(f"not known to be done: {step}", markup=False)
        raise


def _show(amis: "Sequence[Ami]") -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    headings = (
        "AMI", "region", "image", "for", "stack", "created", "checks", "channel", "state", "GiB",
        "name",
    )  # fmt: skip
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for ami in amis:
        table.add_row(*map(escape, _row(ami)))
    results.print(table)


def _row(ami: "Ami") -> tuple[str, ...]:
    name, _, digest = ami.stack.partition("@sha256:")
    state = ami.state
    if ami.deprecated_from:
        state += f", deprecated {ami.deprecated_from:%Y-%m-%d}"
    return (
        ami.id,
        ami.region,
        ami.image,
        "/".join(filter(None, (ami.distribution, ami.architecture))),
        f"{name}@{digest[:12]}" if digest else name,
        f"{ami.created:%Y-%m-%d %H:%M}",
        ami.checks,
        ami.channel,
        state,
        str(ami.size_gib),
        ami.name,
    )
