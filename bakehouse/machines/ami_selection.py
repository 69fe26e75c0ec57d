"""Which AMIs are meant: those of an image, or one by its id with its copies in other regions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bakehouse.errors import InputError
from bakehouse.images import load_images
from bakehouse.machines import ami_tags
from bakehouse.machines.ami import Ami, check_id
from bakehouse.stacks.validation import suggestion

if TYPE_CHECKING:
    from bakehouse.machines.aws import Region


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An AMI, the region that it is in, and all of ours there."""

    ami: Ami
    region: "Region"
    ours: Sequence[Ami]


def machine_images() -> list[str]:
    """Names of the images of images.yml that can be an AMI."""
    return [name for name, image in load_images().items() if image.kind == "machine"]


def ours(amis: Iterable[Ami], image: str | None = None) -> list[Ami]:
    """Those that Bakehouse made; of one image if one is named."""
    return [ami for ami in amis if ami.image and image in {None, ami.image}]


def check_image(image: str | None, amis: Iterable[Ami]) -> None:
    """Refuse an image that neither images.yml nor an AMI knows.

    Raises:
        InputError: There is no such image.
    """
    if image is None:
        return
    known = {*machine_images(), *(ami.image for ami in ours(amis))}
    if image not in known:
        remedy = suggestion(image, known)
        raise InputError(f"there is no image {image}", where=f"--image {image}", remedy=remedy)


def find(ami: str, regions: "Sequence[Region]") -> Placed:
    """One of our AMIs, in the first region that has it.

    Raises:
        InputError: It is no id, no region has it, or it is not ours.
    """
    check_id(ami)
    near: list[str] = []
    for region in regions:
        there = region.amis()
        for each in there:
            if each.id == ami:
                _refuse_foreign(each)
                return Placed(ami=each, region=region, ours=ours(there))
        near += [each.id for each in ours(there)]
    names = ", ".join(region.name for region in regions)
    remedy = suggestion(ami, near) if len(near) < 10 else "see `bakehouse ami list`"
    raise InputError(f"your account has no such AMI in {names}", where=ami, remedy=remedy)


def with_copies(ami: str, regions: "Sequence[Region]") -> list[Placed]:
    """One of our AMIs and, in every other region, the copy of the same build; the AMI first.

    Raises:
        InputError: As for `find`; or a region has no copy, or several.
    """
    home = find(ami, regions)
    others = [region for region in regions if region is not home.region]
    return [home, *(_copy(home.ami, region) for region in others)]


def _copy(original: Ami, region: "Region") -> Placed:
    there = ours(region.amis())
    if not original.build:
        remedy = "name it in each region: --region once, with its id there"
        raise InputError(
            f"its copies are not known: no tag {ami_tags.BUILD}", where=original.id, remedy=remedy
        )
    copies = [each for each in there if (each.build, each.kind) == (original.build, original.kind)]
    if len(copies) == 1:
        return Placed(ami=copies[0], region=region, ours=there)
    if copies:
        told = ", ".join(each.id for each in copies)
        what = f"several AMIs are of build {original.build}: {told}"
        remedy = f"name one: its id, and --region {region.name} alone"
    else:
        what = f"no AMI there is of build {original.build}"
        remedy = f"copy {original.id} with its tags (aws ec2 copy-image --copy-image-tags)"
    raise InputError(what, where=region.name, remedy=remedy)


def _refuse_foreign(ami: Ami) -> None:
    if not ami.image:
        remedy = "Bakehouse changes only what it made; see `bakehouse ami list`"
        what = f"it is not Bakehouse's: it has no tag {ami_tags.IMAGE}"
        raise InputError(what, where=f"{ami}, {ami.region}", remedy=remedy)
