"""What is asked for its versions: this machine, images, hosts behind ssh."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from bakehouse.errors import InputError

_SSH = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][\w.-]*)@)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9_][\w.-]*)"
    r"(?::(?P<port>\d{1,5}))?/?"
)
_REFERENCE = re.compile(r"[A-Za-z0-9][\w./:@-]*")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One thing to ask.

    Attributes:
        name: As the user wrote it.
        kind: How it is reached.
        address: Reference of the image, or name of the host.
        user: Of ssh; empty for ssh's own choice.
        port: Of ssh; None for ssh's own choice.
    """

    name: str
    kind: Literal["local", "image", "ssh"]
    address: str = ""
    user: str = ""
    port: int | None = None


def parse(text: str, images: dict[str, str]) -> Target:
    """The target that a word of the command line means.

    Args:
        text: `localhost`, an image, `HOST`, `USER@HOST`, `ssh://USER@HOST:PORT`, `docker://IMAGE`.
        images: Names of images.yml, with the reference of each.

    Raises:
        InputError: It is none of these.
    """
    if text in {"localhost", "local"}:
        return Target(name=text, kind="local")
    if text in images:
        return Target(name=text, kind="image", address=images[text])
    if text.startswith("docker://"):
        return _image(text, text.removeprefix("docker://"))
    if text.startswith("ssh://"):
        return parse_host(text)
    # Names of hosts have neither; those of images with a tag, a digest or a registry have one.
    if ("/" in text or ":" in text) and not _is_address(text):
        return _image(text, text)
    return parse_host(text)


def parse_host(text: str) -> Target:
    """The target that a line of a list of hosts means.

    Raises:
        InputError: It is neither localhost nor a host's name or address.
    """
    if text == "localhost":
        return Target(name=text, kind="local")
    rest = text.removeprefix("ssh://")
    found = _SSH.fullmatch(f"[{rest}]" if _is_address(rest) and ":" in rest else rest)
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port is not None and not 0 < port < 65536):
        raise InputError(
            "this is no host", where=text, remedy="write HOST, USER@HOST or ssh://USER@HOST:PORT"
        )
    host = found["host"].strip("[]")
    return Target(name=text, kind="ssh", address=host, user=found["user"] or "", port=port)


def parse_hosts(text: str, where: str) -> list[Target]:
    """Targets of a list of hosts: one a line, `#` begins a comment.

    Raises:
        InputError: A line is no host; names it.
    """
    targets = []
    for number, line in enumerate(text.splitlines(), 1):
        name = line.partition("#")[0].strip()
        if name:
            try:
                targets.append(parse_host(name))
            except InputError as error:
                what = f"{name!r} is no host"
                raise InputError(what, where=f"{where}:{number}", remedy=error.remedy) from error
    if not targets:
        raise InputError("there is no host in it", where=where, remedy="write one host a line")
    return targets


def _image(name: str, reference: str) -> Target:
    if not _REFERENCE.fullmatch(reference):
        raise InputError(
            "this is neither an image nor a host",
            where=name,
            remedy="write docker://IMAGE or ssh://USER@HOST:PORT",
        )
    return Target(name=name, kind="image", address=reference)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
