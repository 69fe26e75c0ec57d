"""Images that answer as the distributions do which cannot be had here.

Inside they are Debian 12: what is tested on them is our roles' choice of names, keys, repositories
and package managers, not those distributions' software.
"""

from dataclasses import dataclass

from bakehouse import engine
from bakehouse.builder import build_image, buildkit, context, host_configuration
from bakehouse.builder.locks import only_one

BASE = "debian-12-machine"
REPOSITORY = "bakehouse-stand-in"

_NAMED = r"""
RUN printf '%s\n' {lines} > /etc/os-release && rm -f /etc/debian_version
"""
_DNF = r"""
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=secret,id=apt.conf,target=/tmp/bakehouse/host/apt.conf \
    if [ -s /tmp/bakehouse/host/apt.conf ]; \
    then export APT_CONFIG=/tmp/bakehouse/host/apt.conf; fi; \
    apt-get update --quiet && DEBIAN_FRONTEND=noninteractive \
    apt-get install --quiet --yes --no-install-recommends \
    dnf dnf-plugins-core python3-dnf rpm python3-venv unzip gcc libc6-dev make && \
    rm --force /lib/systemd/system/apt-daily*.timer && \
    echo /usr/lib64 > /etc/ld.so.conf.d/lib64.conf && \
    mkdir -p /etc/yum.repos.d && rpm --initdb && echo 2023 > /etc/dnf/vars/releasever && \
    sed --in-place 's/^enabled = true/enabled = false/' /etc/dnf/plugins/local.conf && \
    echo 'Amazon Linux release 2023 (Amazon Linux)' > /etc/system-release
"""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A distribution that is stood in for.

    Attributes:
        os_release: What /etc/os-release says.
        more: Further instructions of its Dockerfile.
    """

    os_release: tuple[str, ...]
    more: str = ""


STAND_INS = {
    "ubuntu22.04": StandIn(
        os_release=(
            'NAME="Ubuntu"', 'VERSION_ID="22.04"', 'VERSION="22.04 LTS (Jammy Jellyfish)"',
            "VERSION_CODENAME=jammy", "ID=ubuntu", "ID_LIKE=debian",
        ),
    ),
    "ubuntu24.04": StandIn(
        os_release=(
            'NAME="Ubuntu"', 'VERSION_ID="24.04"', 'VERSION="24.04 LTS (Noble Numbat)"',
            "VERSION_CODENAME=noble", "ID=ubuntu", "ID_LIKE=debian",
        ),
    ),
    "amazon2023": StandIn(
        os_release=(
            'NAME="Amazon Linux"', 'VERSION="2023"', 'ID="amzn"', 'ID_LIKE="fedora"',
            'VERSION_ID="2023"',
        ),
        more=_DNF,
    ),
}  # fmt: skip
"""By the name that records use; `debian12` needs none."""


def image(platform: str) -> str:
    """Reference of a platform's image of a machine; made where it is missing or has changed.

    Args:
        platform: `debian12`, or the name of a stand-in.
    """
    with only_one(f"stand-in-{platform}", f"the stand-in for {platform}"):
        base = f"bakehouse/{BASE}:latest"
        if engine.image(base) is None:
            build_image(BASE)
        if platform == "debian12":
            return base
        stand_in = STAND_INS[platform]
        lines = " ".join(f"'{line}'" for line in stand_in.os_release)
        text = f"FROM {base}{stand_in.more}{_NAMED.format(lines=lines)}"
        name = f"stand-in-{platform}"
        folder = context.write_dockerfile(name, text)
        with host_configuration.options(name) as options:
            built = buildkit.build(folder, where=name, options=list(options))
        engine.tag(built.image_id, f"{REPOSITORY}/{platform}", "latest")
    return f"{REPOSITORY}/{platform}:latest"
