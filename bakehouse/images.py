"""images.yml: the only list of images, as a tree."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.stacks import documents
from bakehouse.stacks.stack import suggestion

Group = Literal["environment", "versions", "node", "collectives", "training", "hygiene"]


class Image(BaseModel):
    """One image.

    Attributes:
        name: Its name; docker repository `bakehouse/<name>`.
        kind: rootfs (plain distribution), container (one layer per role), machine (Packer) or
            case (a test case on top of a container).
        parent: The image below; none for a pulled or bootstrapped rootfs.
        reference: rootfs only: the registry's image by digest.
        packages: rootfs only: packages beyond the distribution's minimum.
        environment: Variables set in the container.
        checks: Groups of checks that apply.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")
    kind: Literal["rootfs", "container", "machine", "case"]
    parent: str | None = None
    distribution: str | None = None
    suite: str | None = None
    reference: Annotated[str, Field(pattern=r"^[a-z0-9./-]+@sha256:[0-9a-f]{64}$")] | None = None
    packages: list[str] = []
    playbook: str | None = None
    stack: str | None = None
    case: str | None = None
    environment: dict[str, str] = {}
    checks: list[Group] = []

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {
            "rootfs": ("suite",) if self.parent is None else ("packages",),
            "container": ("parent", "playbook", "stack"),
            "machine": ("parent", "playbook", "stack"),
            "case": ("parent", "case"),
        }[self.kind]
        missing = [name for name in needs if not getattr(self, name)]
        if missing:
            raise ValueError(f"an image of kind {self.kind} needs {', '.join(missing)}")
        return self

    @property
    def repository(self) -> str:
        """Docker repository."""
        return f"bakehouse/{self.name}"


class Images(BaseModel):
    """The file images.yml; the keys are the images' names."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    images: dict[str, Image]


def load_images(path: Path | None = None) -> dict[str, Image]:
    """Read images.yml.

    Raises:
        InputError: The file is wrong, or an image's parent does not exist.
    """
    document = documents.load(path or layout.IMAGES_FILE)
    entries = document.data.get("images")
    if not isinstance(entries, dict) or set(document.data) != {"images"}:
        raise InputError("images.yml has one key, images", where=str(document.path))
    images = {name: _image(document, name, fields) for name, fields in entries.items()}
    for image in images.values():
        if image.parent is not None and image.parent not in images:
            raise InputError(
                f"there is no image {image.parent}",
                where=document.where(("images", image.name, "parent")),
                remedy=suggestion(image.parent, images),
            )
        _refuse_circle(document, images, image)
    return images


def get_image(name: str) -> Image:
    """One image by name.

    Raises:
        InputError: There is none; says which name was perhaps meant.
    """
    images = load_images()
    if name not in images:
        raise InputError(f"there is no image {name}", where=name, remedy=suggestion(name, images))
    return images[name]


def lineage(name: str) -> list[Image]:
    """An image and all below it, the root first.

    Raises:
        InputError: There is no such image.
    """
    get_image(name)
    images = load_images()
    chain = [images[name]]
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
        InputError: The playbook is missing or is not one play with a list of roles.
    """
    path = layout.PLAYBOOKS / f"{name}.yml"
    plays: Any = documents.load_list(path)
    if len(plays) != 1 or not isinstance(plays[0].get("roles"), list):
        raise InputError("a playbook is one play with a list of roles", where=str(path))
    return [r if isinstance(r, str) else r["role"] for r in plays[0]["roles"]]


def _image(document: documents.Document, name: str, fields: Any) -> Image:
    keys = ("images", name)
    try:
        return TypeAdapter(Image).validate_python({**fields, "name": name})
    except (ValidationError, TypeError) as error:
        if isinstance(error, TypeError):
            raise InputError("an image is a mapping", where=document.where(keys)) from error
        first = error.errors()[0]
        reason, remedy = first["msg"].removeprefix("Value error, "), "see schemas/images.json"
        if first["type"] == "extra_forbidden":
            reason = f"unknown key {first['loc'][-1]}"
            remedy = suggestion(str(first["loc"][-1]), Image.model_fields)
        raise InputError(
            reason, where=document.where((*keys, *first["loc"])), remedy=remedy
        ) from error


def _refuse_circle(document: documents.Document, images: dict[str, Image], image: Image) -> None:
    seen, present = {image.name}, image
    while present.parent is not None and present.parent in images:
        if present.parent in seen:
            raise InputError(
                "the image is its own ancestor",
                where=document.where(("images", image.name, "parent")),
            )
        seen.add(present.parent)
        present = images[present.parent]
