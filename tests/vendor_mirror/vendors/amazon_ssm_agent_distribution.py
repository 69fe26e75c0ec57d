"""The SSM Agent that Amazon Linux has."""

from vendor_mirror.offer import Package, Release
from vendor_mirror.vendors.amazon_ssm_agent import package


def distribution(release: Release) -> list[Package]:
    """The distribution's package."""
    return [package(release)] if release.family == "dnf" else []
