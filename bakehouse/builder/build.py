"""Building images: what must run runs, and a name is given only to what is whole."""

import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from bakehouse import engine, layout
from bakehouse.builder import (
    context,
    host_configuration,
    identity,
    ledger,
    plan,
    rootfs,
    wheelhouse,
)
from bakehouse.builder.buildkit import Built, Step, build
from bakehouse.builder.progress import show
from bakehouse.console import progress
from bakehouse.errors import HostError, InputError
from bakehouse.images import Image, lineage
from bakehouse.stacks.constraints import refuse_broken
from bakehouse.stacks.records import PythonRecord
from bakehouse.stacks.stack import Stack, load_stack

LAYERS_LABEL = "org.bakehouse.layers"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer as it was planned or built; `why` says why it had to run."""

    name: str
    kind: str
    key: str
    cached: bool
    why: str = ""
    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A planned or finished build."""

    image: str
    build: str
    image_id: str
    seconds: float
    layers: list[Layer]
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def as_json(self) -> dict[str, Any]:
        """Plain data, as in layers.json."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to build: `plan_only` runs nothing; `no_cache` runs every layer."""

    stack: str | None = None
    plan_only: bool = False
    no_cache: bool = False
    allow_broken_stack: bool = False


def build_image(name: str, options: Options | None = None) -> BuildResult:
    """Build an image and what it stands on; with `plan_only`, say what would run and why.

    Raises:
        InputError: No such image, role, stack or case, or a stack that breaks a rule.
        BuildError: A layer failed. No name was given, and layers below it are kept.
        HostError: No engine answers.
    """
    chosen = options or Options()
    if not chosen.plan_only:
        engine.sweep()
    results = [_build_one(image, chosen, top=image.name == name) for image in lineage(name)]
    return results[-1]


def _build_one(image: Image, options: Options, *, top: bool) -> BuildResult:
    started = time.perf_counter()
    makers = {"rootfs": _rootfs, "container": _container, "case": _case, "machine": _machine}
    # Images below are rebuilt only where their own inputs ask for it.
    own = options if top else Options(stack=options.stack, plan_only=options.plan_only)
    with _lock(image.name):
        image_id, build_id, layers = makers[image.kind](image, own)
    result = BuildResult(
        image=image.name,
        build=build_id,
        image_id=image_id,
        seconds=round(time.perf_counter() - started, 3),
        layers=layers,
    )
    if not options.plan_only:
        _write(image, result, options)
    return result


def stack_of(image: Image, override: str | None = None) -> Stack:
    """The stack that an image is built from: its own, or that of the image below.

    Raises:
        InputError: Neither has one.
    """
    for ancestor in reversed(lineage(image.name)):
        if ancestor.stack is not None:
            return load_stack(override or ancestor.stack)
    raise InputError(f"{image.name} has no stack", where=str(layout.IMAGES_FILE))


def interpreter_of(reference: str) -> wheelhouse.Interpreter:
    """The Python of an image, asked once per content."""
    digest = rootfs.content_digest_of(reference)
    memory = layout.STATE / "interpreters" / f"{digest}.json"
    if not memory.is_file():
        question = (
            "import json,os,sys;print(json.dumps(dict("
            "version='%d.%d'%sys.version_info[:2],"
            "glibc=int(os.confstr('CS_GNU_LIBC_VERSION').split('.')[1]),machine=os.uname().machine)))"
        )
        answer = engine.output_of(reference, ["python3", "-c", question])
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(answer, encoding="utf-8")
    return wheelhouse.Interpreter(**json.loads(memory.read_text(encoding="utf-8")))


Made = tuple[str, str, list[Layer]]


def _rootfs(image: Image, options: Options) -> Made:
    reference = f"{image.repository}:latest"
    if options.plan_only:
        there = engine.labels(reference).get(rootfs.INPUTS) == rootfs.inputs(image)
        why = "" if there else "not there, or its entry in images.yml changed"
        return "", "", [Layer(name=image.name, kind="rootfs", key="", cached=there, why=why)]
    started = time.perf_counter()
    digest, there = rootfs.ensure(image, refresh=options.no_cache)
    found = engine.image(reference)
    assert found is not None
    layer = Layer(
        name=image.name,
        kind="rootfs",
        key=digest,
        cached=there,
        seconds=0.0 if there else round(time.perf_counter() - started, 2),
        bytes=int(found.attrs["Size"]),
    )
    _report(image, [layer])
    return str(found.id), digest[:12], [layer]


def _container(image: Image, options: Options) -> Made:
    stack = stack_of(image, options.stack)
    refuse_broken(stack, allow=options.allow_broken_stack)
    base = f"bakehouse/{image.parent}:latest"
    below = identity.base_key(rootfs.content_digest_of(base))
    layers = plan.role_layers(image, stack, identity.values(image, stack), below)
    environment = json.dumps(image.environment, sort_keys=True)
    keys = {layer.name: layer.key for layer in layers} | {"environment": environment}
    planned = _planned(image, layers, below, keys, options)
    if options.plan_only or planned.unchanged:
        return planned.image_id, plan.build_id(layers[-1].key), planned.layers
    python = interpreter_of(base)
    verified = wheelhouse.prepare(stack, python)
    folder = context.write(
        image.name,
        base,
        layers,
        controller=wheelhouse.prepare_controller(python),
        wheels={
            layer.name: wheelhouse.wheels_of(verified, _required(stack, layer))
            for layer in layers
            if layer.wheels
        },
        environment=image.environment,
    )
    built = _run(image, folder, _labels(image, layers, keys, stack), options)
    return _named(image, built, layers, below, planned)


def _case(image: Image, options: Options) -> Made:
    stack = stack_of(image, options.stack)
    parent = engine.labels(f"bakehouse/{image.parent}:latest")
    below = parent.get("org.bakehouse.build", "")
    layer = plan.case_layer(str(image.case), stack, below)
    keys = {layer.name: layer.key}
    planned = _planned(image, [layer], below, keys, options)
    if options.plan_only or planned.unchanged:
        return planned.image_id, plan.build_id(layer.key), planned.layers
    base = f"bakehouse/{image.parent}:latest"
    required = _required(stack, layer)
    wheels = wheelhouse.wheels_of(wheelhouse.prepare(stack, interpreter_of(base)), required)
    lines = wheelhouse.requirement_lines(required)
    folder = context.write_case(image.name, layer, lines, wheels)
    arguments = ["--build-arg", f"BASE={base}", *_labels(image, [layer], keys, stack)]
    built = _run(image, folder, arguments, options)
    return _named(image, built, [layer], below, planned)


def _machine(image: Image, options: Options) -> Made:
    from bakehouse import machines  # noqa: PLC0415 - machines and containers do not need each other

    baked = machines.bake(image, stack_of(image, options.stack), options)
    return baked.image_id, baked.build, [Layer(**layer) for layer in baked.layers]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    unchanged: bool
    image_id: str
    layers: list[Layer]


def _planned(
    image: Image, layers: list[plan.Layer], below: str, keys: Mapping[str, str], options: Options
) -> _Plan:
    """What would run: nothing if the named image has these keys, else what BuildKit lacks."""
    found = engine.image(f"{image.repository}:latest")
    label = found.labels.get(LAYERS_LABEL) if found else None
    unchanged = label is not None and json.loads(label) == dict(keys) and not options.no_cache
    commands = "" if unchanged or options.no_cache else engine.built_commands()
    result, under = [], below
    for layer in layers:
        known = unchanged or (
            context.marker(layer) in commands
            if layer.kind == "role"
            else ledger.seconds(image.name, layer) is not None and found is not None
        )
        why = "" if known else ledger.why(image.name, layer, under)
        if not known and options.no_cache:
            why = "--no-cache"
        result.append(Layer(name=layer.name, kind=layer.kind, key=layer.key, cached=known, why=why))
        under = layer.key
    if unchanged and not options.plan_only:
        progress.print(f"[bold]{image.name}[/bold] unchanged")
    return _Plan(unchanged=unchanged, image_id=str(found.id) if found else "", layers=result)


def _run(image: Image, folder: Any, more: list[str], options: Options) -> Built:
    arguments = [
        *host_configuration.secrets(),
        *more,
        *(["--no-cache"] if options.no_cache else []),
    ]
    with show(image.name) as on_event:
        return build(folder, options=arguments, on_event=on_event)


def _labels(
    image: Image, layers: list[plan.Layer], keys: Mapping[str, str], stack: Stack
) -> list[str]:
    """Options that label an image; labels are not part of any layer."""
    labels = {
        "org.bakehouse.image": image.name,
        "org.bakehouse.build": layers[-1].key,
        "org.bakehouse.stack": f"{stack.name}@sha256:{stack.digest}",
        LAYERS_LABEL: json.dumps(dict(keys), sort_keys=True),
    }
    return [part for name, text in labels.items() for part in ("--label", f"{name}={text}")]


def _named(
    image: Image, built: Built, layers: list[plan.Layer], below: str, planned: _Plan
) -> Made:
    """Remember the layers of a built image, and only then give it its names."""
    build_id, image_id = plan.build_id(layers[-1].key), built.image_id
    sizes = _sizes(image_id)
    steps = (
        built.steps
        if layers[0].kind == "role"
        else {layers[0].name: Step(name="", seconds=built.seconds)}
    )
    result, under = [], below
    for index, (layer, wanted) in enumerate(zip(layers, planned.layers, strict=True)):
        step = steps.get(layer.name, Step(name=layer.name, cached=True))
        if not step.cached:
            ledger.record(image.name, layer, under, step.seconds)
        size = sizes[index - len(layers)] if len(sizes) >= len(layers) else 0
        result.append(
            Layer(
                name=layer.name, kind=layer.kind, key=layer.key, cached=step.cached,
                why="" if step.cached else wanted.why, seconds=step.seconds, bytes=size,
            )
        )  # fmt: skip
        under = layer.key
    engine.tag(image_id, image.repository, "latest", build_id)
    _report(image, result)
    return image_id, build_id, result


def _sizes(image_id: str) -> list[int]:
    """Bytes of an image's non-empty layers, the lowest first."""
    found = engine.image(image_id)
    if found is None:
        raise HostError("the engine lost the image that it has just built", where=image_id)
    history = reversed(found.history())
    return [entry["Size"] for entry in history if entry["CreatedBy"].startswith("RUN ")]


def _required(stack: Stack, layer: plan.Layer) -> list[Any]:
    records = [stack.records[name] for name in layer.wheels]
    return [
        r for record in records if isinstance(record, PythonRecord) for r in record.requirements
    ]


def _report(image: Image, layers: list[Layer]) -> None:
    ran = [layer for layer in layers if not layer.cached]
    seconds = sum(layer.seconds for layer in ran)
    progress.print(
        f"[bold]{image.name}[/bold] {len(ran)} of {len(layers)} layers ran, {seconds:.1f} s"
    )


def _write(image: Image, result: BuildResult, options: Options) -> None:
    folder = layout.OUT / image.name
    folder.mkdir(parents=True, exist_ok=True)
    if any(not layer.cached for layer in result.layers) or not (folder / "layers.json").is_file():
        text = json.dumps(result.as_json(), indent=1)
        (folder / "layers.json").write_text(text + "\n", encoding="utf-8")
    if image.kind != "rootfs":
        stack = stack_of(image, options.stack)
        (folder / "stack.yml").write_text(stack.path.read_text(encoding="utf-8"), encoding="utf-8")


@contextmanager
def _lock(name: str) -> Iterator[None]:
    """Let one build of an image wait for another; the second then finds everything cached."""
    path = layout.STATE / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.print(f"another build of {name} is running; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
