"""The host's pip configuration, certificates and apt proxy, as BuildKit secrets.

People behind proxies and in closed networks are the rule. Secrets never reach a layer or its key.
"""

import configparser
import io
import os
import subprocess
import sys
from pathlib import Path

from bakehouse import layout

PIP_CONFIGURATION = "pip.conf"
CERTIFICATES = "ca.pem"
APT_CONFIGURATION = "apt.conf"


def secrets() -> list[str]:
    """Options for `docker build` that hand the host's configuration to builds that mount it."""
    folder = layout.STATE / "host"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = {
        PIP_CONFIGURATION: _pip_configuration(),
        CERTIFICATES: _certificates(),
        APT_CONFIGURATION: _apt_configuration(),
    }
    options = []
    for name, text in files.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        options += ["--secret", f"id={name},src={path}"]
    return options


def _pip_configuration() -> str:
    """pip's settings from files and PIP_* variables, without paths that mean nothing in a build."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    settings = configparser.ConfigParser(interpolation=None)
    for line in listing.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        section = "global" if section == ":env:" else section
        text = value.strip("'\"")
        if name in {"cert", "client-cert"} or "file:" in text or text.startswith("/"):
            continue
        if not settings.has_section(section):
            settings.add_section(section)
        settings.set(section, name, text)
    stream = io.StringIO()
    settings.write(stream)
    return stream.getvalue()


def _certificates() -> str:
    candidates = (os.environ.get("PIP_CERT"), os.environ.get("SSL_CERT_FILE"))
    system = "/etc/ssl/certs/ca-certificates.crt"
    for path in (*candidates, system):
        if path and Path(path).is_file():
            return Path(path).read_text(encoding="utf-8")
    return ""


def _apt_configuration() -> str:
    try:
        dump = subprocess.run(
            ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    lines = [line for line in dump.stdout.splitlines() if "::Proxy" in line and '"";' not in line]
    return "".join(f"{line}\n" for line in lines)
