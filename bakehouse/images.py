"""images.yml: the only list of images, as a tree."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.playbooks import load_playbook
from bakehouse.stacks import documents
from bakehouse.stacks.stack import stack_names
from bakehouse.stacks.validation import Model, suggestion, validate

Kind = Literal["rootfs", "container", "machine", "case"]
Group = Literal["environment", "versions", "node", "collectives", "training", "hygiene"]
Architecture = Literal["x86_64", "arm64"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")]

BY_DIGEST = r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*@sha256:[0-9a-f]{64}$"
"""A registry's image: `host:port/repository@sha256:…`."""

_NEEDED: dict[str, tuple[str, ...]] = {
    "rootfs": (),
    "container": ("parent", "playbook", "stack"),
    "machine": ("parent", "playbook", "stack"),
    "case": ("parent", "case"),
}
_ALLOWED: dict[str, tuple[str, ...]] = {
    "rootfs": ("parent", "distribution", "suite", "reference", "packages", "disk"),
    "container": ("parent", "playbook", "stack"),
    "machine": ("parent", "playbook", "stack", "ami", "disk", "budget"),
    "case": ("parent", "case"),
}
_PARENTS: dict[str, tuple[str, ...]] = {
    "rootfs": ("rootfs",),
    "container": ("rootfs", "container"),
    "machine": ("rootfs",),
    "case": ("container", "case"),
}


class Ami(Model):
    """How an image becomes an AMI.

    Attributes:
        source: Platform of packer/source_amis.yml whose AMI it starts from.
        distributions: Those that it is made for; the first unless another is asked for.
        instance_types: What bakes it, by architecture. It needs no accelerator.
        root_gb: Size of the root device.
    """

    source: Name
    distributions: Annotated[list[Name], Field(min_length=1)]
    instance_types: Annotated[dict[Architecture, str], Field(min_length=1)]
    root_gb: Annotated[int, Field(ge=8)]


class Disk(Model):
    """How an image becomes a disk. Its lineage must bring a kernel and a boot loader.

    Attributes:
        gb: Size of the disk in GiB; its file system grows with it.
    """

    gb: Annotated[int, Field(ge=2)]


class Budget(Model):
    """What a machine image may cost; a bake that needs more makes no image.

    Attributes:
        minutes: From Packer's start until the machine is judged.
        gb: What stands on its root device when it is judged, in 10^9 bytes.
    """

    minutes: Annotated[float, Field(gt=0)]
    gb: Annotated[float, Field(gt=0)]


class Entry(Model):
    """One image in the file.

    Attributes:
        kind: rootfs (plain distribution), container (one layer per role), machine (Packer) or
            case (a test case on top of a container).
        parent: The image below; none for a pulled or bootstrapped rootfs.
        reference: rootfs only: the registry's image by digest.
        packages: rootfs only: packages beyond the distribution's minimum.
        ami: machine only: how it becomes an AMI.
        disk: rootfs and machine only: how it becomes a disk.
        budget: machine only: time and size beyond which there is no image.
        environment: Variables set in the container.
        checks: Groups of checks that apply.
    """

    kind: Kind
    parent: str | None = None
    distribution: str | None = None
    suite: str | None = None
    reference: Annotated[str, Field(pattern=BY_DIGEST)] | None = None
    packages: list[str] = Field(default_factory=list)
    playbook: str | None = None
    stack: str | None = None
    case: str | None = None
    ami: Ami | None = None
    disk: Disk | None = None
    budget: Budget | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    checks: list[Group] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        needed = set(_NEEDED[self.kind])
        if self.kind == "rootfs":
            needed = {"packages"} if self.parent else {"distribution", "suite"}
        missing = sorted(name for name in needed if not getattr(self, name))
        if missing:
            raise ValueError(f"an image of kind {self.kind} needs {', '.join(missing)}")
        special = {name for names in _ALLOWED.values() for name in names}
        foreign = sorted((special & self.model_fields_set) - set(_ALLOWED[self.kind]))
        if foreign:
            raise ValueError(f"an image of kind {self.kind} has no {', '.join(foreign)}")
        return self


class Image(Entry):
    """One image: its entry in the file, and its name.

    Attributes:
        name: Its name; docker repository `bakehouse/<name>`, or of another namespace.
    """

    name: Name

    @property
    def repository(self) -> str:
        """Docker repository."""
        return f"{layout.NAMESPACE}/{self.name}"


class Images(Model):
    """The file images.yml; the keys are the images' names."""

    images: dict[Name, Entry]


def load_images(path: Path | None = None) -> dict[str, Image]:
    """Read images.yml.

    Raises:
        InputError: The file is wrong, or an image's parent, playbook, stack or case does not exist.
    """
    document = documents.load(path or layout.IMAGES_FILE)
    entries = validate(Images, document.data, document, schema="images.json").images
    images = {
        name: Image(name=name, **entry.model_dump(exclude_unset=True))
        for name, entry in entries.items()
    }
    files = _files()
    for image in images.values():
        _refuse_dangling(document, images, image, files)
        _refuse_circle(document, images, image)
    return images


def get_image(name: str) -> Image:
    """One image by name; `case/<name>` is the first image that is made from a test case.

    Raises:
        InputError: There is none; says which name was perhaps meant.
    """
    return _find(name, load_images())


def _find(name: str, images: dict[str, Image]) -> Image:
    kind, _, case = name.rpartition("/")
    if kind == "case":
        of_case = {str(image.case): image for image in reversed(images.values()) if image.case}
        if case not in of_case:
            raise InputError(
                f"no image is made from a test case {case}",
                where=name,
                remedy=suggestion(case, of_case),
            )
        return of_case[case]
    if name not in images:
        raise InputError(f"there is no image {name}", where=name, remedy=suggestion(name, images))
    return images[name]


def latest(name: str) -> str:
    """Docker's reference of the newest build of an image."""
    return f"{layout.NAMESPACE}/{name}:latest"


def lineage(name: str) -> list[Image]:
    """An image and all below it, the root first.

    Raises:
        InputError: There is no such image.
    """
    images = load_images()
    chain = [_find(name, images)]
    while chain[0].parent is not None:
        chain.insert(0, images[chain[0].parent])
    return chain


def roles_of(name: str) -> list[str]:
    """Roles that made an image, those of its ancestors first.

    Raises:
        InputError: No such image, or a playbook is missing or has logic.
    """
    return [
        role for image in lineage(name) if image.playbook for role in playbook_roles(image.playbook)
    ]


def playbook_roles(name: str) -> list[str]:
    """Role names of a playbook, in order.

    Raises:
        InputError: The playbook is missing or has logic.
    """
    return list(load_playbook(name).roles)


def _files() -> dict[str, list[str]]:
    """What has a file that images are made from: key of an image to names."""
    return {
        "playbook": [path.stem for path in layout.PLAYBOOKS.glob("*.yml")],
        "stack": stack_names(),
        "case": [path.parent.name for path in layout.CONTAINERS.glob("*/Dockerfile")],
    }


def _refuse_dangling(
    document: documents.Document,
    images: dict[str, Image],
    image: Image,
    files: dict[str, list[str]],
) -> None:
    parents = [name for name, other in images.items() if other.kind in _PARENTS[image.kind]]
    for key, names in {"parent": parents, **files}.items():
        value = getattr(image, key)
        if value is not None and value not in names:
            exists = key == "parent" and value in images
            raise InputError(
                f"an image of kind {image.kind} cannot stand on {value}, of kind "
                f"{images[value].kind}"
                if exists
                else f"there is no {'image' if key == 'parent' else key} {value}",
                where=document.where(("images", image.name, key)),
                remedy=suggestion(value, names),
            )


def _refuse_circle(document: documents.Document, images: dict[str, Image], image: Image) -> None:
    seen, present = {image.name}, image
    while present.parent is not None and present.parent in images:
        if present.parent in seen:
            raise InputError(
                "the image is its own ancestor",
                where=document.where(("images", image.name, "parent")),
                remedy="a tree has a root: name an image that does not stand on this one",
            )
        seen.add(present.parent)
        present = images[present.parent]
