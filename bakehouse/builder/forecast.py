"""What baking will take, from what roles took here before and from what EC2 costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bakehouse import layout
from bakehouse.images import Image
from bakehouse.stacks import documents

PRICES = layout.STACKS / "prices.yml"


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """An estimate.

    Attributes:
        seconds: Of the roles whose time is known.
        known: How many those are.
        of: How many roles there are.
        usd: For that time on the image's instance; None where there is no instance or price.
        instance: Its type; empty where no AMI is made.
        source: Where the price comes from.
    """

    seconds: float
    known: int
    of: int
    usd: float | None
    instance: str
    source: str


def forecast(image: Image, roles: Sequence[str], seconds: Mapping[str, float]) -> Forecast:
    """What some roles of an image take.

    Args:
        image: Whose AMI's instance is paid for.
        roles: Those that run.
        seconds: How long each role took, by name.

    Raises:
        InputError: The table of prices is wrong.
    """
    known = [seconds[role] for role in roles if role in seconds]
    instance = image.ami.instance_types.get("x86_64", "") if image.ami else ""
    price = documents.load(PRICES).data["prices"].get(instance, {}) if instance else {}
    usd = float(price["usd_per_hour"]) * sum(known) / 3600 if price else None
    return Forecast(
        seconds=round(sum(known), 1),
        known=len(known),
        of=len(roles),
        usd=None if usd is None else round(usd, 4),
        instance=instance,
        source=str(price.get("source", "")),
    )
