"""Images that BuildKit makes: one layer per role, or a test case on top of such an image."""

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bakehouse import engine
from bakehouse.builder import (
    buildkit,
    context,
    host_configuration,
    identity,
    inputs,
    ledger,
    plan,
    sources,
    wheelhouse,
)
from bakehouse.builder.progress import show
from bakehouse.builder.result import BuildResult, Layer, Options
from bakehouse.builder.rootfs import content_digest_of
from bakehouse.images import Image, latest
from bakehouse.stacks.constraints import refuse_broken
from bakehouse.stacks.stack import Stack

LAYERS_LABEL = "org.bakehouse.layers"
BUILD_LABEL = "org.bakehouse.build"


@dataclass(frozen=True, kw_only=True)
class Work:
    """One image to be made, as planned.

    Attributes:
        image: It.
        stack: Its versions.
        base: Reference of the image below.
        below: Key under the first layer.
        layers: The lowest first.
        key: Of the whole image.
        planned: Each layer with what would become of it.
        present: Id of the image that has the name now; empty if none has.
        unchanged: That image is what would be made.
    """

    image: Image
    stack: Stack
    base: str
    below: str
    layers: list[plan.Layer]
    key: str
    planned: list[Layer]
    present: str
    unchanged: bool

    def result(self, image_id: str, layers: list[Layer], **other: float) -> BuildResult:
        """The result of this work."""
        return BuildResult(
            image=self.image.name,
            build=plan.build_id(self.key),
            key=self.key,
            image_id=image_id,
            seconds=0.0,
            layers=layers,
            other=other,
        )


def container(image: Image, options: Options, parent: BuildResult) -> BuildResult:
    """Build a base image, a layer per role, unless it is there.

    Raises:
        InputError: A role does not exist, or the stack breaks a rule.
        BuildError: A role failed.
    """
    stack = inputs.stack_of(image, options.stack)
    refuse_broken(stack, allow=options.allow_broken_stack)
    content = content_digest_of(latest(str(image.parent)))
    below = identity.base_key(content)
    layers = plan.role_layers(image, stack, identity.values(image, stack), below)
    work = _planned(image, stack, layers, below, options, parent)
    if options.plan_only or work.unchanged:
        return work.result(work.present, work.planned)
    python = inputs.interpreter_of(work.base)
    verified = wheelhouse.prepare(stack, python, options.supply)
    wheels = {
        layer.name: wheelhouse.wheels_of(verified, inputs.required(stack, layer))
        for layer in layers
        if layer.wheels
    }
    folder = context.write(
        image.name,
        work.base,
        layers,
        content=content,
        controller=wheelhouse.prepare_controller(python, options.supply),
        wheels=wheels,
        environment=image.environment,
        supply=options.supply,
    )
    built = _run(work, folder, options, [])
    return _named(work, built, [_step_of(built, layer) for layer in layers])


def case(image: Image, options: Options, parent: BuildResult) -> BuildResult:
    """Build a test case's image from its Dockerfile, unless it is there.

    Raises:
        InputError: There is no such case.
        DownloadError: A wheel or its source cannot be had, or is not what its record promises.
        BuildError: An instruction of its Dockerfile failed.
    """
    stack = inputs.stack_of(image, options.stack)
    layer = plan.case_layer(str(image.case), stack, parent.key)
    work = _planned(image, stack, [layer], parent.key, options, parent)
    if options.plan_only or work.unchanged:
        return work.result(work.present, work.planned)
    source = sources.prepare(stack, layer.name, options.supply)
    required, wheels = inputs.required(stack, layer), []
    if layer.wheels:
        python = inputs.interpreter_of(work.base)
        (record,) = layer.wheels
        verified = wheelhouse.prepare(stack, python, options.supply, case_record=record)
        wheels = wheelhouse.wheels_of(verified, required)
    lines = wheelhouse.requirement_lines(required)
    folder = context.write_case(image.name, layer, lines, wheels, source)
    built = _run(work, folder, options, ["--build-arg", f"BASE={work.base}"])
    cached = all(step.cached for step in built.steps)
    step = buildkit.Step(name=layer.name, marked=True, cached=cached)
    step.seconds = 0.0 if cached else round(sum(s.seconds for s in built.steps), 2)
    return _named(work, built, [step])


def _planned(
    image: Image,
    stack: Stack,
    layers: list[plan.Layer],
    below: str,
    options: Options,
    parent: BuildResult,
) -> Work:
    """What would run: nothing if the named image has these keys, else what BuildKit lacks."""
    key = plan.build_key(layers, below, image.environment)
    found = engine.image(f"{image.repository}:latest")
    same = found is not None and found.labels.get(BUILD_LABEL) == key
    unchanged = same and not options.no_cache and bool(parent.key)
    commands = "" if unchanged or options.no_cache or not parent.key else engine.built_commands()
    present = str(found.id) if found else ""
    bytes_of = _sizes(image, present, len(layers)) if unchanged else [0] * len(layers)
    planned, under = [], below
    for layer, size in zip(layers, bytes_of, strict=True):
        cached = unchanged or context.marker(layer, options.supply) in commands
        why = "" if cached else _why(image, layer, under, options, parent)
        planned.append(
            Layer(
                name=layer.name,
                kind=layer.kind,
                key=layer.key,
                cached=cached,
                why=why,
                built_seconds=ledger.seconds(image.name, layer),
                bytes=size,
            )
        )
        under = layer.key
    if planned and planned[0].why == ledger.BELOW_CHANGED:
        planned[0] = replace(planned[0], why=f"{parent.image} or the builder itself changed")
    return Work(
        image=image,
        stack=stack,
        base=latest(str(image.parent)),
        below=below,
        layers=layers,
        key=key,
        planned=planned,
        present=present,
        unchanged=unchanged,
    )


def _why(image: Image, layer: plan.Layer, under: str, options: Options, parent: BuildResult) -> str:
    if options.no_cache:
        return "--no-cache"
    if not parent.key:
        return f"{parent.image} below is to be made first"
    return ledger.why(image.name, layer, under)


def _run(work: Work, folder: Path, options: Options, more: list[str]) -> buildkit.Built:
    labels = {
        "org.bakehouse.image": work.image.name,
        BUILD_LABEL: work.key,
        "org.bakehouse.stack": f"{work.stack.name}@sha256:{work.stack.digest}",
        LAYERS_LABEL: json.dumps({layer.name: layer.key for layer in work.layers}),
    }
    more = [
        *more,
        *(part for name, text in labels.items() for part in ("--label", f"{name}={text}")),
    ]
    if options.no_cache:
        more.append("--no-cache")
    by_name, under = {}, work.below
    for layer in work.layers:
        by_name[layer.name] = (layer, under)
        under = layer.key
    with ExitStack() as resources:
        host = resources.enter_context(host_configuration.options(work.image.name, options.supply))
        display = resources.enter_context(show(work.image.name, work.planned))

        def on_event(event: buildkit.Event, step: buildkit.Step, line: str) -> None:
            display(event, step, line)
            if event == "done" and step.marked and step.name in by_name:
                # At once, so that a build that fails later still knows this layer.
                ledger.record(work.image.name, *by_name[step.name], step.seconds)

        return buildkit.build(
            folder, where=work.image.name, options=[*host, *more], on_event=on_event
        )


def _step_of(built: buildkit.Built, layer: plan.Layer) -> buildkit.Step:
    cached = buildkit.Step(name=layer.name, marked=True, cached=True)
    return built.layer(layer.name) or cached


def _named(work: Work, built: buildkit.Built, steps: list[buildkit.Step]) -> BuildResult:
    """Give a built image its names, and say how its layers were made."""
    if work.layers and work.layers[0].kind == "case" and not steps[0].cached:
        ledger.record(work.image.name, work.layers[0], work.below, steps[0].seconds)
    sizes = _sizes(work.image, built.image_id, len(steps))
    layers = [
        replace(
            planned,
            cached=step.cached,
            why="" if step.cached else planned.why,
            seconds=0.0 if step.cached else step.seconds,
            built_seconds=ledger.seconds(work.image.name, layer),
            bytes=size,
            tasks=step.tasks,
        )
        for planned, layer, step, size in zip(work.planned, work.layers, steps, sizes, strict=True)
    ]
    engine.tag(built.image_id, work.image.repository, "latest", plan.build_id(work.key))
    ansible = sum(s.seconds for s in built.steps if s.name == "ansible" and not s.cached)
    return work.result(built.image_id, layers, ansible=ansible, exporting=built.exporting_seconds)


def _sizes(image: Image, image_id: str, count: int) -> list[int]:
    """Bytes of an image's own layers, the lowest first: of each RUN, or all that a case adds."""
    found, parent = engine.image(image_id), engine.image(latest(str(image.parent)))
    if found is None or parent is None:
        return [0] * count
    if image.kind == "case":
        return [int(found.attrs["Size"]) - int(parent.attrs["Size"])]
    runs = [entry["Size"] for entry in found.history() if entry["CreatedBy"].startswith("RUN ")]
    return list(reversed([*runs, *[0] * count][:count]))
