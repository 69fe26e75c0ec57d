"""The host's pip configuration, certificates, proxies and mirrors, for the builds it starts.

People behind proxies and in closed networks are the rule. What is handed over here is mounted while
a layer runs: it is in no layer, and in no layer's key.
"""

import configparser
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bakehouse import layout
from bakehouse.builder.supply import (
    APT_IN_LAYER,
    Supply,
    apt_configuration,
    pip_configuration,
    prefixes,
)
from bakehouse.errors import InputError
from bakehouse.stacks import documents

MIRRORS = "BAKEHOUSE_MIRRORS"
"""Names a YAML file of address prefixes and what stands in their place."""

IN_BUILD = "/tmp/bakehouse/host"  # noqa: S108 - a tmpfs of the container's own
_APT_PROXY = re.compile(r'^Acquire::(https?)::Proxy "(.+)";$', re.MULTILINE)
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
_SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
)


@contextmanager
def options(image: str, supply: Supply | None = None) -> Iterator[list[str]]:
    """Options for `docker build` that hand the host's configuration to one build.

    With a supply it is the bundle's instead, and from a folder layers have no network at all.

    Raises:
        InputError: The file of mirrors is wrong.
    """
    with files(image, supply=supply) as folder:
        secrets = [f"id={path.name},src={path}" for path in sorted(folder.iterdir())]
        more = [part for secret in secrets for part in ("--secret", secret)]
        if supply is None:
            yield [*proxy_arguments(), *more]
        else:
            yield [*(["--network", "none"] if supply.folder else []), *more]


@contextmanager
def files(image: str, at: str = IN_BUILD, supply: Supply | None = None) -> Iterator[Path]:
    """A folder with the host's configuration as files, each there only if the host has it.

    Args:
        image: Whose bake or build it is for.
        at: Where the build will see the folder.
        supply: A bundle that stands in for the host's own network.

    Raises:
        InputError: The file of mirrors is wrong.
    """
    contents = _of_host(at) if supply is None else _of_supply(supply, at)
    folder = layout.STATE / "host" / image
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        for name, text in contents.items():
            if text:
                path = folder / name
                path.touch(mode=0o600)
                path.write_text(text, encoding="utf-8")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _of_host(at: str) -> dict[str, str]:
    settings = pip_settings()
    return {
        "pip.conf": _as_file(settings, at),
        "client.pem": _text(settings.get(("global", "client-cert"))),
        "ca.pem": _certificates(settings),
        "apt.conf": apt_proxies(),
        "mirrors.json": _as_variable(mirrors()),
    }


def _of_supply(supply: Supply, at: str) -> dict[str, str]:
    in_layer = at == IN_BUILD
    address = supply.in_layers if in_layer else supply.in_machines
    # Layers share apt's folders with builds from other sources: here they have their own.
    folders = f'Dir::State::Lists "{APT_IN_LAYER}/lists";\nDir::Cache "{APT_IN_LAYER}/cache";\n'
    return {
        "pip.conf": pip_configuration(address),
        "apt.conf": apt_configuration(address) + (folders if in_layer else ""),
        "mirrors.json": _as_variable(prefixes(address)),
    }


def proxy_arguments() -> list[str]:
    """Build arguments that docker knows and keeps out of images and cache keys."""
    names = [name for lower in _PROXIES for name in (lower, lower.upper()) if os.environ.get(name)]
    return [part for name in names for part in ("--build-arg", name)]


def pip_settings() -> dict[tuple[str, str], str]:
    """pip's settings by section and name, from its files and PIP_* variables, the last one wins."""
    home = Path.home()
    files = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        Path(os.environ.get("XDG_CONFIG_HOME", home / ".config")) / "pip" / "pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    explicit = os.environ.get("PIP_CONFIG_FILE")
    if explicit == os.devnull:  # pip's way to say: no file at all
        files = []
    elif explicit:
        files.append(Path(explicit))
    parser = configparser.RawConfigParser()
    parser.read(files, encoding="utf-8")
    found = {(s, name): parser.get(s, name) for s in parser.sections() for name in parser[s]}
    for name, text in os.environ.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and text:
            found["global", name.removeprefix("PIP_").lower().replace("_", "-")] = text
    return found


def apt_proxies() -> str:
    """The host's apt proxies as a piece of apt's configuration."""
    if shutil.which("apt-config") is None:
        return ""
    dump = subprocess.run(
        ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False
    )
    lines = [line for line in dump.stdout.splitlines() if "::Proxy" in line and '"";' not in line]
    return "".join(f"{line}\n" for line in lines)


def apt_proxy_addresses() -> dict[str, str]:
    """The host's apt proxies by scheme."""
    return {match[1]: match[2] for match in _APT_PROXY.finditer(apt_proxies())}


def _as_file(settings: dict[tuple[str, str], str], at: str) -> str:
    """The settings that mean something inside a build: addresses, not the host's paths."""
    parser = configparser.RawConfigParser()
    for (section, name), text in sorted(settings.items()):
        words = [word for word in text.split() if not word.startswith(("/", "~", "./", "file:"))]
        if name == "client-cert":
            words = [f"{at}/client.pem"]
        if words:
            if not parser.has_section(section):
                parser.add_section(section)
            parser.set(section, name, " ".join(words))
    stream = io.StringIO()
    parser.write(stream)
    return stream.getvalue()


def _certificates(settings: dict[tuple[str, str], str]) -> str:
    """The certificates that the host trusts."""
    candidates = (
        settings.get(("global", "cert")),
        os.environ.get("SSL_CERT_FILE"),
        os.environ.get("REQUESTS_CA_BUNDLE"),
        *_SYSTEM_CERTIFICATES,
    )
    return next((text for path in candidates if (text := _text(path))), "")


def _text(path: str | None) -> str:
    try:
        return Path(path).read_text(encoding="utf-8") if path else ""
    except OSError:
        return ""


def mirrors() -> Mapping[str, str]:
    """The mirrors that the host knows: prefixes of addresses and what stands in their place.

    Raises:
        InputError: The file that names them is wrong.
    """
    name = os.environ.get(MIRRORS)
    if not name:
        return {}
    document = documents.load(Path(name))
    if not all(isinstance(text, str) for text in document.data.values()):
        raise InputError(
            "mirrors are prefixes of addresses and what stands in their place", where=name
        )
    return document.data


def _as_variable(found: Mapping[str, str]) -> str:
    return json.dumps({"bakehouse_mirrors": dict(found)}) if found else ""
