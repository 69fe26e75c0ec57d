"""Machine images that begin with the same roles: baked once, into private images to start from."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bakehouse import engine, layout
from bakehouse.builder import ledger, plan
from bakehouse.builder.catalogue import Entry, Role, shared
from bakehouse.builder.inputs import stack_of
from bakehouse.builder.locks import only_one
from bakehouse.builder.result import Options
from bakehouse.console import progress
from bakehouse.images import Image, get_image
from bakehouse.judge import CLEANUP
from bakehouse.machines import rehearsal
from bakehouse.machines.chain_playbook import Play, Step, cut, plays, steps
from bakehouse.machines.plan import BUILD_LABEL, Bake, Part, remove_nameless, template_digests
from bakehouse.stacks.stack import Stack


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """What several images begin with.

    Attributes:
        images: Their names.
        start: What they start from.
        roles: In order.
        key: Over all that decides the roles' result, but for the content of `start`.
        below: The longest other prefix that this one begins with.
    """

    images: tuple[str, ...]
    start: str
    roles: tuple[str, ...]
    key: str
    below: "Prefix | None"

    @property
    def name(self) -> str:
        """Of its private image; the same for other inputs of the same roles."""
        return f"chain-{_digest([self.start, self.roles])[:12]}"


def prefixes(entries: Sequence[Entry]) -> list[Prefix]:
    """What images have in common, at every level: the shortest first."""
    made: list[Prefix] = []
    for group in sorted(shared(entries), key=lambda group: len(group.roles)):
        owner = next(entry for entry in entries if entry.image == group.images[0])
        keys = [role.key for role in owner.roles[: len(group.roles)]]
        below = [prefix for prefix in made if prefix.key in keys]
        made.append(
            Prefix(
                images=tuple(group.images),
                start=owner.start,
                roles=tuple(group.roles),
                key=keys[-1],
                below=below[-1] if below else None,
            )
        )
    return made


def beginning(image: Image, stack: Stack) -> Entry:
    """The roles of a machine image that others may begin with as well.

    They end where the image says its name, where it is cleaned, and where its playbook has more
    than roles.

    Raises:
        InputError: The playbook is wrong, or names a role that does not exist.
    """
    layers = plan.unbuilt_layers(image, stack, "")
    every = steps(_plays(image))
    key = _digest([image.parent, [_said(step, layers) for step in every if step.role == CLEANUP]])
    roles: list[Role] = []
    for step in every[:-1]:  # something is left to run
        if {plan.IDENTITY_ROLE, CLEANUP} & set(plan.with_included(step.role)):
            break
        key = _digest([key, _said(step, layers)])
        roles.append(Role(name=step.role, key=key, inputs={}))
    start = str(image.parent)
    return Entry(image=image.name, kind="machine", stack=stack.name, start=start, roles=roles)


class Chain:
    """The private images of one command.

    Attributes:
        prefixes: What they hold, the shortest first.
        missing: Those that would have to be baked, where nothing may run.
    """

    def __init__(self, names: Sequence[str], stack: str | None = None) -> None:
        """Plan; looks at nothing that is built.

        Args:
            names: Images that are built together, as in images.yml.
            stack: Another stack than theirs.

        Raises:
            InputError: No such image, role or stack.
        """
        images = [get_image(name) for name in dict.fromkeys(names)]
        machines = [image for image in images if image.kind == "machine"]
        self.prefixes = prefixes([beginning(image, stack_of(image, stack)) for image in machines])
        self.missing: dict[str, Prefix] = {}
        self._baked: set[str] = set()

    def start(self, job: Bake, options: Options) -> Bake:
        """The same bake, of only the roles that the longest private image does not have.

        What of it is not there is baked, or noted as missing where nothing may run.

        Raises:
            BuildError: A role failed; what was baked before is kept.
            DownloadError: A wheel cannot be had, or is not what its record promises.
            HostError: There is no Packer, or no engine answers.
        """
        fitting = [prefix for prefix in self.prefixes if job.image.name in prefix.images]
        if not fitting:
            return job
        prefix = fitting[-1]
        made = self._ensured(prefix, job, options)
        if not options.plan_only:
            _remember(job, _seconds(made, prefix))
        count = len(prefix.roles)
        part = Part(
            listed=job.image.name,
            done=prefix.roles,
            roles=tuple(job.roles[count:]),
            plays=cut(_plays(job.image), count)[1],
        )
        return replace(job, base=_reference(made), part=part)

    def _ensured(self, prefix: Prefix, job: Bake, options: Options) -> Bake:
        """The bake of a private image, done, and before it that of the one that it stands on."""
        made = self._private(prefix, job, options)
        if not made.why:
            return made
        below = self._ensured(prefix.below, job, options) if prefix.below else None
        if options.plan_only:
            self.missing[made.whole.key] = prefix
            return made
        with only_one(made.image.name, f"a bake of {made.image.name}"):
            made = self._private(prefix, job, options)  # another process may just have baked it
            if made.why:
                self._bake(made, below, prefix, options)
        return made

    def _private(self, prefix: Prefix, job: Bake, options: Options) -> Bake:
        """A private image as it would be baked for an image that begins with it."""
        key = _digest([job.below, template_digests(), prefix.key])
        whole = plan.Layer(name="whole", kind="role", files={}, digests={}, variables={}, key=key)
        image = job.image.model_copy(update={"name": prefix.name})
        made = replace(job, image=image, whole=whole, part=_part(prefix, job.image))
        found = engine.image(_reference(made))
        if found is None or found.labels.get(BUILD_LABEL) != key:
            return replace(made, present="", why=f"{', '.join(prefix.images)} begin with it")
        again = options.no_cache and key not in self._baked
        return replace(made, present=str(found.id), why="--no-cache" if again else "")

    def _bake(self, made: Bake, below: Bake | None, prefix: Prefix, options: Options) -> None:
        started = time.monotonic()
        remove_nameless(made.image)
        base = _reference(below) if below else made.base
        built = rehearsal.build(replace(made, base=base), options.supply)
        build = plan.build_id(made.whole.key)
        engine.tag(built.image_id, made.image.repository, build)
        seconds = {name: round(step.seconds, 2) for name, step in built.steps.items()}
        if below and prefix.below:
            seconds |= _seconds(below, prefix.below)
        _remember(made, seconds)
        self._baked.add(made.whole.key)
        what = f"{len(built.steps)} roles ran for {', '.join(prefix.images)}"
        took = time.monotonic() - started
        progress.print(f"[bold]{made.image.name}[/bold] {build} {what}, {took:.1f} s")


def _part(prefix: Prefix, image: Image) -> Part:
    """What runs for a private image, taken from the playbook of an image that begins with it."""
    every = _plays(image)
    done = prefix.below.roles if prefix.below else ()
    head, _ = cut(every, len(prefix.roles))
    # It stays below the images that start from it, so that what must not ship must not be in it.
    cleaning = [step for step in steps(every) if step.role == CLEANUP]
    return Part(
        listed=image.name,
        done=done,
        roles=(*prefix.roles[len(done) :], *(step.role for step in cleaning)),
        plays=[*cut(head, len(done))[1], *(step.alone() for step in cleaning)],
    )


def _plays(image: Image) -> list[Play]:
    return plays(layout.PLAYBOOKS / f"{image.playbook}.yml")


def _seconds(made: Bake, prefix: Prefix) -> dict[str, float]:
    """What the roles of a private image took when they ran."""
    return {name: ledger.seconds(made.image.name, made.role(name)) for name in prefix.roles}


def _remember(job: Bake, seconds: Mapping[str, float]) -> None:
    for name, value in seconds.items():
        if value:  # a time may be forgotten, but the image is still good
            ledger.record(job.image.name, job.role(name), job.below, value)


def _reference(made: Bake) -> str:
    return f"{made.image.repository}:{plan.build_id(made.whole.key)}"


def _said(step: Step, layers: Sequence[plan.Layer]) -> dict[str, Any]:
    """What decides a role in its place; a role without a layer has no part in a machine."""
    layer = next((layer for layer in layers if layer.name == step.role), None)
    play = {key: value for key, value in step.play.items() if key not in {"name", "vars"}}
    if layer is None:
        return {"entry": step.entry, "play": play}
    given = step.play.get("vars") or {}
    return {
        "entry": step.entry,
        "play": play,
        "vars": {name: value for name, value in given.items() if name in layer.variables},
        "inputs": layer.inputs(""),
    }


def _digest(of: Any) -> str:
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
