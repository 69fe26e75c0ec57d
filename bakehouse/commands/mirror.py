"""`bakehouse mirror`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakehouse.console import progress, results
from bakehouse.errors import HostError
from bakehouse.images import load_images
from bakehouse.stacks.stack import stack_names

if TYPE_CHECKING:
    from bakehouse.mirror.manifest import Manifest

HELP = """Bundles: all that a stack's images fetch, for places without a network.

Examples:

    bakehouse mirror create cpu

    bakehouse mirror check out/mirror/cpu

    bakehouse build cpu --mirror out/mirror/cpu

    bakehouse mirror serve out/mirror/cpu --address 10.0.0.5
"""
CREATE_HELP = """Make a bundle: archives, keys, wheels and packages of a stack and its images.

Archives and keys are verified by their records, wheels by their digests. For the packages each
image is built once, under another name and without caches, through a mirror that keeps what apt
asked for; apt verifies it then and will again. An interrupted command goes on where it stopped; a
second one fetches only what is missing.

Examples:

    bakehouse mirror create cpu --image cpu-ddp

    bakehouse mirror create gpu-cuda13 --platform ubuntu24.04-x86_64 --output /media/usb/gpu

Of the host's network it uses what `bakehouse build` uses: pip's settings, apt's proxies, and the
mirrors in the YAML file that `BAKEHOUSE_MIRRORS` names.
"""
CHECK_HELP = """Read every file of a bundle and compare it with the manifest.

Example:

    bakehouse mirror check out/mirror/cpu

Exit status: 0 the bundle is whole; 1 a file is missing, altered or unknown.
"""
SERVE_HELP = """Serve a bundle over HTTP, and say what to write where in a closed site.

Examples:

    bakehouse mirror serve out/mirror/cpu --address 10.0.0.5 --port 8080

    bakehouse mirror serve out/mirror/cpu --settings    # only say it
"""

Json = Annotated[bool, typer.Option("--json", help="Result as JSON.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The bundle.")]


def register(application: typer.Typer) -> None:
    """Add this command group to the command line."""
    group = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="markdown")
    group.command(name="create", help=CREATE_HELP)(create)
    group.command(name="check", help=CHECK_HELP)(check)
    group.command(name="serve", help=SERVE_HELP)(serve)
    application.add_typer(group, name="mirror")


def create(
    stack: Annotated[str, typer.Argument(help="Stack.", autocompletion=stack_names)],
    image: Annotated[
        list[str] | None,
        typer.Option(
            help="Record this image; all of the stack's by default. Repeatable.",
            autocompletion=lambda: list(load_images()),
        ),
    ] = None,
    platform: Annotated[
        list[str] | None,
        typer.Option(help="Of archives and keys: debian12-x86_64, all; this machine's by default."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The bundle; default: out/mirror/<stack>.")
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Take the distribution's present state.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a bundle."""
    from bakehouse import layout
    from bakehouse.builder import host_configuration
    from bakehouse.mirror import creation
    from bakehouse.stacks.download import Policy

    wanted = creation.request(stack, image or [], platform or [], refresh=refresh)
    folder = output or layout.OUT / "mirror" / stack
    created = creation.create(wanted, folder, Policy(mirrors=host_configuration.mirrors()))
    for line in created.manifest.left_out:
        progress.print(f"left out: {line}", markup=False)
    summary = _summary(folder, created.manifest)
    if as_json:
        results.print_json(data={**summary, "fetched": list(created.fetched)})
        return
    progress.print(f"{len(created.fetched)} files fetched")
    _show(summary)


def check(folder: Folder, as_json: Json = False) -> None:
    """Compare a bundle with its manifest."""
    from bakehouse.errors import CheckError
    from bakehouse.mirror import manifest, verification

    found = manifest.read(folder)
    findings = verification.findings(folder, found)
    summary = _summary(folder, found)
    if as_json:
        results.print_json(data={**summary, "findings": findings})
    elif not findings:
        _show(summary)
    if findings:
        told = "\n".join(f"  {line}" for line in findings)
        raise CheckError(
            f"the bundle is not what its manifest says:\n{told}",
            where=str(folder),
            remedy=f"copy it anew, or, {manifest.CREATE_AGAIN}",
        )


def serve(
    folder: Folder,
    address: Annotated[str, typer.Option(help="Of this machine, to answer at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    settings: Annotated[
        bool, typer.Option("--settings", help="Say what to write where; serve nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Settings as JSON.")] = False,
) -> None:
    """Serve a bundle until it is interrupted."""
    from bakehouse.mirror import manifest, site, verification
    from bakehouse.mirror.server import Bundle, listening

    found = manifest.read(folder)
    verification.refuse_broken(folder, found)
    try:
        server = listening(Bundle.opened(folder, announces=True), address, port)
    except OSError as error:
        raise HostError(
            f"cannot answer there: {error.strerror}",
            where=f"{address}:{port}",
            remedy="give an --address of this machine and a free --port",
        ) from error
    with server:
        there = f"http://{address}:{server.server_port}"
        if as_json:
            results.print_json(data=site.settings(found, there))
        else:
            results.print(site.text(found, there), markup=False, highlight=False)
        if settings:
            return
        progress.print(f"serving {folder} at {there}; Ctrl-C ends it", markup=False)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            progress.print("ended")


def _summary(folder: Path, manifest: "Manifest") -> dict[str, Any]:
    from bakehouse.mirror.manifest import digest_of
    from bakehouse.mirror.server import MANIFEST

    return {
        "folder": str(folder),
        "stack": manifest.stack,
        "images": list(manifest.images),
        "files": len(manifest.files),
        "bytes": manifest.bytes,
        "sha256": digest_of((folder / MANIFEST).read_bytes()),
        "left_out": list(manifest.left_out),
    }


def _show(summary: dict[str, Any]) -> None:
    results.print(
        f"{summary['folder']}: {summary['files']} files, {summary['bytes'] / 1e6:.0f} MB, "
        f"for {', '.join(summary['images']) or summary['stack']}\nmanifest {summary['sha256']}",
        markup=False,
        highlight=False,
    )
