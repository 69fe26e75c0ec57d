"""The AMI that a bake starts from: a given one, or the newest that packer/source_amis.yml finds."""

from dataclasses import dataclass
from string import Template
from typing import Any, Protocol

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.images import Ami, Image, load_images
from bakehouse.stacks import documents
from bakehouse.stacks.validation import suggestion

FILE = layout.PACKER / "source_amis.yml"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an AMI is made for.

    Attributes:
        distribution: `ubuntu-24.04`.
        architecture: `x86_64` or `arm64`.
        entry: What source_amis.yml says of it: owner, name or parameter, user.
        name: Filter of names, with the versions filled in; empty where there is none.
    """

    distribution: str
    architecture: str
    entry: dict[str, Any]
    name: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """An AMI that others made."""

    id: str
    name: str
    architecture: str


class Finder(Protocol):
    """A region in which source AMIs are looked for."""

    name: str

    def source(self, ami: str) -> Source | None:
        """An AMI by its id."""

    def newest(self, owner: str, name: str, architecture: str) -> Source | None:
        """The newest AMI of an owner whose name fits a filter."""

    def parameter(self, name: str) -> str:
        """Value of a public parameter."""


def wanted(image: Image, distribution: str = "", architecture: str = "x86_64") -> Wanted:
    """What is asked for, checked against images.yml.

    Args:
        image: As in images.yml.
        distribution: Empty for the image's first.
        architecture: Of the machine.

    Raises:
        InputError: The image is never an AMI, or not one of that distribution or architecture.
    """
    ami = _ami(image)
    chosen = distribution or ami.distributions[0]
    _refuse_unknown(image, "distribution", chosen, ami.distributions)
    _refuse_unknown(image, "architecture", architecture, list(ami.instance_types))
    data = documents.load(FILE).data
    entry = data["source_amis"][ami.source][chosen][architecture]
    name = Template(entry.get("name", "")).substitute(data["versions"])
    return Wanted(distribution=chosen, architecture=architecture, entry=entry, name=name)


def find(asked: Wanted, region: Finder, given: str = "") -> Source:
    """The source AMI.

    Args:
        asked: What the AMI is made for.
        region: Where.
        given: Id of an AMI; empty to look for one.

    Raises:
        InputError: There is none, or it is of another architecture.
        HostError: AWS cannot be asked.
    """
    if given:
        found, what = region.source(given), given
    elif asked.name:
        what = f"{asked.name} of {asked.entry['owner']}"
        found = region.newest(asked.entry["owner"], asked.name, asked.architecture)
    else:
        what = asked.entry["parameter"]
        found = region.source(region.parameter(what))
    if found is None:
        raise InputError(
            f"there is no source AMI {what} in {region.name}",
            where=given or str(FILE),
            remedy="give --source-ami, or another --region; names change with AWS's releases",
        )
    if found.architecture != asked.architecture:
        raise InputError(
            f"the source AMI {found.id} ({found.name}) is of {found.architecture}, "
            f"not {asked.architecture}",
            where=region.name,
            remedy=f"give --architecture {found.architecture}, or another --source-ami",
        )
    return found


def _ami(image: Image) -> Ami:
    if image.ami is None:
        names = sorted(name for name, other in load_images().items() if other.ami)
        raise InputError(
            f"{image.name} is not made as an AMI",
            where=str(layout.IMAGES_FILE),
            remedy=f"one of: {', '.join(names)}",
        )
    return image.ami


def _refuse_unknown(image: Image, what: str, value: str, known: list[Any]) -> None:
    if value not in known:
        raise InputError(
            f"{image.name} is not made for the {what} {value}",
            where=str(layout.IMAGES_FILE),
            remedy=suggestion(value, known),
        )
