"""Building images: what must run runs, and a name is given only to what is whole."""

import errno
import json
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from bakehouse import engine, layout
from bakehouse.builder import containers, rootfs
from bakehouse.builder.inputs import stack_of
from bakehouse.builder.locks import only_one
from bakehouse.builder.result import BuildResult, Layer, Options
from bakehouse.builder.supply import Supply
from bakehouse.console import progress
from bakehouse.errors import HostError
from bakehouse.images import Image, lineage


def build_image(
    name: str,
    *,
    stack: str | None = None,
    plan_only: bool = False,
    no_cache: bool = False,
    allow_broken_stack: bool = False,
    supply: Supply | None = None,
) -> BuildResult:
    """Build an image and what it stands on; as `build_lineage`, which says more."""
    options = Options(
        stack=stack,
        plan_only=plan_only,
        no_cache=no_cache,
        allow_broken_stack=allow_broken_stack,
        supply=supply,
    )
    return build_lineage(name, options)[-1]


def build_lineage(name: str, options: Options) -> list[BuildResult]:
    """Build an image and what it stands on; returns all of them, the lowest first.

    Args:
        name: As in images.yml, or `case/<name>`.
        options: What to do; `no_cache` does not hold for what the image stands on.

    Raises:
        InputError: No such image, role, stack or case, or a stack that breaks a rule.
        BuildError: A layer failed. No name was given, and layers below it are kept.
        DownloadError: A wheel cannot be had, or is not what its record promises.
        HostError: No engine answers, or the disk is full.
    """
    if not options.plan_only:
        engine.sweep()
    below = replace(options, no_cache=False)
    results: list[BuildResult] = []
    *_, wanted = images = lineage(name)
    for image in images:
        chosen = options if image is wanted else below
        results.append(_build_one(image, chosen, results[-1] if results else None))
    return results


def _build_one(image: Image, options: Options, parent: BuildResult | None) -> BuildResult:
    waiting = (
        nullcontext() if options.plan_only else only_one(image.name, f"a build of {image.name}")
    )
    with waiting:
        started = time.perf_counter()
        try:
            result = _made(image, options, parent)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise HostError(
                "the disk is full",
                where=str(error.filename or layout.STATE),
                remedy="free some space and build again",
            ) from error
        except KeyboardInterrupt:
            progress.print("interrupted: no image was named; the layers that ended are kept")
            raise
        result = replace(result, seconds=round(time.perf_counter() - started, 3))
        if not options.plan_only:
            _report(result)
            _write(image, result, options)
        return result


def _made(image: Image, options: Options, parent: BuildResult | None) -> BuildResult:
    if image.kind == "rootfs":
        return _rootfs(image, options)
    if image.kind == "machine":
        return _machine(image, options)
    assert parent is not None
    if image.kind == "container":
        return containers.container(image, options, parent)
    return containers.case(image, options, parent)


def _rootfs(image: Image, options: Options) -> BuildResult:
    reference = f"{image.repository}:latest"
    started = time.perf_counter()
    if options.plan_only:
        there = engine.labels(reference).get(rootfs.INPUTS) == rootfs.inputs(image)
        key = rootfs.content_digest(image) if there and not options.no_cache else ""
    else:
        key, there = rootfs.ensure(image, refresh=options.no_cache, supply=options.supply)
    cached = there and not (options.plan_only and options.no_cache)
    seconds = 0.0 if cached or options.plan_only else round(time.perf_counter() - started, 2)
    found = engine.image(reference)
    why = "--no-cache" if there else "not there, or its entry in images.yml changed"
    layer = Layer(
        name=image.name,
        kind="rootfs",
        key=key,
        cached=cached,
        why="" if cached else why,
        seconds=seconds,
        bytes=int(found.attrs["Size"]) if found else 0,
    )
    return BuildResult(
        image=image.name,
        build=key[:12],
        key=key,
        image_id=str(found.id) if found else "",
        seconds=seconds,
        layers=[layer],
    )


def _machine(image: Image, options: Options) -> BuildResult:
    from bakehouse import machines  # noqa: PLC0415 - machines and containers do not need each other

    return machines.bake(image, stack_of(image, options.stack), options)


def _report(result: BuildResult) -> None:
    ran = [layer for layer in result.layers if not layer.cached]
    said = f"{len(ran)} of {len(result.layers)} layers ran" if ran else "unchanged"
    progress.print(f"[bold]{result.image}[/bold] {result.build} {said}, {result.seconds:.1f} s")


def _write(image: Image, result: BuildResult, options: Options) -> None:
    """Leave beside the image what it was built from and how; an unchanged build writes nothing."""
    folder = layout.OUT / image.name
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "layers.json"
    if not result.unchanged or _recorded(record).get("image_id") != result.image_id:
        _replace(record, json.dumps(result.as_json(), indent=1) + "\n")
    if image.kind != "rootfs":
        text = stack_of(image, options.stack).path.read_text(encoding="utf-8")
        _replace(folder / "stack.yml", text)


def _recorded(path: Path) -> Mapping[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
