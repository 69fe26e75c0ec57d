"""`bakehouse build`."""

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from bakehouse.console import progress, results
from bakehouse.images import load_images
from bakehouse.stacks.stack import stack_names

if TYPE_CHECKING:
    from bakehouse.builder.result import BuildResult
    from bakehouse.machines.chain import Chain, Prefix

HELP = """
Build images, each role a layer, and what they stand on.

Only what changed runs. A failed or interrupted build leaves no name; the next one goes on from the
last good layer. The last three builds of an image keep their names: `bakehouse/cpu:<build>`.

Examples:

    bakehouse build cpu-ddp

    bakehouse build case/fsdp           # the image of a test case, by the name of the case

    bakehouse build cpu --plan          # which layers would run, and why

    bakehouse build cpu --stack gpu-cuda13 --json

    bakehouse build pcluster-gpu pcluster-cpu --chain    # what they share, once

    bakehouse build cpu --mirror out/mirror/cpu      # from a bundle, layers without a network

What the host knows about its network is handed to builds and stays in no layer: pip's settings,
certificates, apt's proxies, `http_proxy` and its kin, and the mirrors in the YAML file that
`BAKEHOUSE_MIRRORS` names (prefix of an address: what stands in its place).
"""


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""

    @application.command(name="build", help=HELP)
    def build_command(
        images: Annotated[
            list[str],
            typer.Argument(
                help="Names from images.yml, or case/<test case>.", autocompletion=_images
            ),
        ],
        stack: Annotated[
            str | None, typer.Option(help="Another stack.", autocompletion=stack_names)
        ] = None,
        plan: Annotated[
            bool, typer.Option("--plan", help="Say what would run, and why; run nothing.")
        ] = False,
        no_cache: Annotated[
            bool, typer.Option("--no-cache", help="Run every layer of these images.")
        ] = False,
        mirror: Annotated[
            str | None,
            typer.Option(
                metavar="DIR|ADDRESS",
                envvar="BAKEHOUSE_BUNDLE",
                help="Fetch everything from this bundle of `bakehouse mirror create`.",
            ),
        ] = None,
        allow_broken_stack: Annotated[
            bool, typer.Option("--allow-broken-stack", help="Build although a rule is broken.")
        ] = False,
        chain: Annotated[
            bool,
            typer.Option(
                "--chain",
                help="Bake only once what several of these machine images begin with, into private "
                "images from which they start.",
            ),
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Results as JSON.")] = False,
    ) -> None:
        from bakehouse.builder.build import build_lineage
        from bakehouse.builder.result import Options
        from bakehouse.builder.supply import opened

        with opened(mirror) if mirror else nullcontext() as supply:
            options = Options(
                stack=stack,
                plan_only=plan,
                no_cache=no_cache,
                allow_broken_stack=allow_broken_stack,
                supply=supply,
                chain=_chain(images, stack) if chain else None,
            )
            built = {r.image: r for name in images for r in build_lineage(name, options)}
        if as_json:
            typer.echo(json.dumps([result.as_json() for result in built.values()], indent=1))
        elif plan:
            for prefix in options.chain.missing.values() if options.chain else ():
                _show_prefix(prefix)
            for result in built.values():
                _show_plan(result)


def _images() -> list[str]:
    return list(load_images())


def _chain(names: list[str], stack: str | None) -> "Chain":
    from bakehouse.machines.chain import Chain

    chain = Chain(names, stack)
    if not chain.prefixes:
        why = "no two machine images here begin with the same roles"
        progress.print(f"nothing to chain: {why}; they are built as usual")
    return chain


def _show_prefix(prefix: "Prefix") -> None:
    done = prefix.below.roles if prefix.below else ()
    below = f" on {prefix.below.name}" if prefix.below else ""
    roles = ", ".join(prefix.roles[len(done) :])
    text = f"{prefix.name} would be baked{below} for {', '.join(prefix.images)}: {roles}"
    results.print(text, markup=False, highlight=False)


def _show_plan(result: "BuildResult") -> None:
    from bakehouse.builder.progress import shortened

    results.print(f"[bold]{result.image}[/bold] {result.build}")
    for layer in result.layers:
        what = "cached" if layer.cached else "run"
        text = f"  {what:<7} {layer.name:<20} {layer.key[:12]:<13} {shortened(layer.why)}"
        results.print(text.rstrip(), markup=False, highlight=False)
