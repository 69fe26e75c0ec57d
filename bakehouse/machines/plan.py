"""Which inputs decide a machine image, and whether they have changed since it was baked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakehouse import engine, layout
from bakehouse.builder import identity, ledger, plan, wheelhouse
from bakehouse.builder.buildkit import Step
from bakehouse.builder.result import BuildResult, Layer
from bakehouse.builder.rootfs import content_digest_of
from bakehouse.images import Image, latest, playbook_roles
from bakehouse.playbooks import load_playbook
from bakehouse.stacks.stack import Stack

_FOR_OTHERS = (
    "amazon.pkr.hcl", "amazon_variables.pkr.hcl", "plugins.pkr.hcl", "qemu.pkr.hcl",
    "qemu_variables.pkr.hcl", "source_amis.yml",
)  # fmt: skip
"""Files of packer/ that do not decide a bake in docker."""

IMAGE_LABEL, BUILD_LABEL = "org.bakehouse.image", "org.bakehouse.build"


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some of an image's roles, baked onto others that are there.

    Attributes:
        listed: The image of images.yml that they are of.
        done: Roles of what the bake starts from.
        roles: Those that run.
        plays: What runs them.
    """

    listed: str
    done: tuple[str, ...]
    roles: tuple[str, ...]
    plays: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Bake:
    """One bake as decided.

    Attributes:
        image: What is baked.
        stack: Its versions.
        base: Docker image of the machine that it starts from.
        below: Digest of that image's content and of the Ansible that works on it.
        whole: Everything that decides the image, as one layer: Packer keeps one for all roles.
        present: Id of the image of this name that is there; empty if there is none.
        why: Why it must be baked; empty if it need not.
        part: The roles that run, where those are not all.
    """

    image: Image
    stack: Stack
    base: str
    below: str
    whole: plan.Layer
    present: str
    why: str
    part: Part | None = None

    @property
    def roles(self) -> list[str]:
        """The roles of what comes out, in order."""
        if self.part is not None:
            return [*self.part.done, *self.part.roles]
        return playbook_roles(str(self.image.playbook))

    @property
    def private(self) -> bool:
        """Whether what comes out is only for other bakes to start from."""
        return self.part is not None and self.part.listed != self.image.name

    def role(self, name: str) -> plan.Layer:
        """A role as the ledger of times knows it."""
        return plan.Layer(
            name=name, kind="role", files={}, digests={}, variables={}, key=self.whole.key
        )

    def layers(
        self, steps: Mapping[str, Step] | None = None, sizes: Mapping[str, int] | None = None
    ) -> list[Layer]:
        """The roles with times and bytes: those just measured, else the times of the last bake."""
        ran = steps or {}
        done = self.part.done if self.part is not None else ()
        return [
            Layer(
                name=name,
                kind="role",
                key=self.whole.key,
                cached=not self.why or name in done,
                why=self.why if number == len(done) else "",
                seconds=round(ran[name].seconds, 2) if name in ran else 0.0,
                built_seconds=ledger.seconds(self.image.name, self.role(name)),
                bytes=(sizes or {}).get(name, 0),
                tasks=ran[name].tasks if name in ran else [],
            )
            for number, name in enumerate(self.roles)
        ]

    def result(self, image_id: str, layers: list[Layer], **other: float) -> BuildResult:
        """What the bake says it did."""
        return BuildResult(
            image=self.image.name,
            build=plan.build_id(self.whole.key),
            key=self.whole.key,
            image_id=image_id,
            seconds=0.0,
            layers=layers,
            other=other,
        )


def planned(image: Image, stack: Stack, *, no_cache: bool = False) -> Bake:
    """Decide whether an image must be baked.

    Raises:
        InputError: The playbook is wrong, or names a role that does not exist.
    """
    base = latest(str(image.parent))
    ansible = _layer("ansible", {}, {"requirements": wheelhouse.controller_lines()})
    below = ansible.with_key(content_digest_of(base)).key
    whole = _whole(image, stack).with_key(below)
    found = engine.image(f"{image.repository}:latest")
    why = ""
    if no_cache:
        why = "--no-cache"
    elif found is None or found.labels.get(BUILD_LABEL) != whole.key:
        why = ledger.why(image.name, whole, below)
    return Bake(
        image=image,
        stack=stack,
        base=base,
        below=below,
        whole=whole,
        present=str(found.id) if found else "",
        why=why,
    )


def template_digests() -> dict[str, str]:
    """Digest of each file of packer/ that decides a bake in docker."""
    return plan.digests(_template())


def remove_nameless(image: Image) -> None:
    """Remove what a killed bake committed but did not name; the caller holds the image's lock."""
    filters = {"dangling": True, "label": f"{IMAGE_LABEL}={image.name}"}
    for found in engine.connect().images.list(filters=filters):
        engine.remove_if_unused(str(found.id))


def key_of(image: Image, stack: Stack, below: str) -> str:
    """Digest of all that decides a machine image that starts from something."""
    return _whole(image, stack).with_key(below).key


def _whole(image: Image, stack: Stack) -> plan.Layer:
    return _layer("whole", _inputs(image), {**stack.variables, **identity.values(image, stack)})


def _layer(name: str, files: Mapping[str, Path], variables: Mapping[str, Any]) -> plan.Layer:
    digests = plan.digests(files)
    return plan.Layer(name=name, kind="role", files=files, digests=digests, variables=variables)


def _inputs(image: Image) -> dict[str, Path]:
    """The files that decide a machine image, by their path in the repository."""
    files: dict[str, Path] = {}
    for role in playbook_roles(str(image.playbook)):
        plan.targets(role)  # raises where there is no such role
        for name in plan.with_included(role):
            files.update(plan.tree(layout.ROLES / name, f"roles/{name}/"))
    files.update(_template())
    playbooks = load_playbook(str(image.playbook)).files
    return {**files, **{f"playbooks/{p.relative_to(layout.PLAYBOOKS)}": p for p in playbooks}}


def _template() -> dict[str, Path]:
    files = plan.tree(layout.PACKER, "packer/")
    return {name: path for name, path in files.items() if path.name not in _FOR_OTHERS}
