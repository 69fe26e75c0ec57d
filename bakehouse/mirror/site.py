"""How a place without the internet is told to ask a bundle."""

from typing import Any
from urllib.parse import urlsplit

from bakehouse.builder.supply import apt_configuration, pip_configuration, prefixes
from bakehouse.mirror.manifest import Manifest


def settings(manifest: Manifest, address: str) -> dict[str, Any]:
    """The settings by the program that reads them.

    Args:
        manifest: Of the bundle.
        address: Where it is served.
    """
    return {
        "bakehouse": f"bakehouse build IMAGE --mirror {address}",
        "bakehouse_mirrors": prefixes(address),
        "apt.conf": apt_configuration(address),
        "sources.list": [
            mirrored(line, address) for lines in manifest.sources.values() for line in lines
        ],
        "pip.conf": pip_configuration(address),
    }


def mirrored(line: str, address: str) -> str:
    """A line of apt's sources with its address replaced by that of the mirror."""
    kind, origin, *rest = line.split()
    parts = urlsplit(origin)
    return " ".join([kind, f"{address}/{parts.scheme}/{parts.netloc}{parts.path}", *rest])


def text(manifest: Manifest, address: str) -> str:
    """The settings for people."""
    found = settings(manifest, address)
    mirrors = "\n".join(f'  "{a}": {b}' for a, b in found["bakehouse_mirrors"].items())
    return f"""\
# Builds of this repository, from a machine whose containers reach {address}:
{found["bakehouse"]}

# Ansible, for anybody who uses the roles (--extra-vars, or group_vars):
bakehouse_mirrors:
{mirrors}

# /etc/apt/apt.conf.d/90mirror: apt keeps its sources and asks the mirror
{found["apt.conf"]}
# ... or, instead of that, /etc/apt/sources.list:
{chr(10).join(found["sources.list"])}

# /etc/pip.conf
{found["pip.conf"]}"""
