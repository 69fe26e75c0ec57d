"""A bundle that builds draw on in place of every other source: nothing else is asked.

From a folder, layers are built without any network: the bundle is mounted and served inside. From
an address, they ask that address.
"""

import os
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

from bakehouse import engine
from bakehouse.errors import BuildError, DownloadError, HostError, InputError
from bakehouse.mirror import manifest, verification
from bakehouse.mirror.server import (
    MANIFEST,
    NOT_THERE,
    PORT_IN_LAYER,
    Bundle,
    Handler,
    serving,
)

APT_IN_LAYER = "/tmp/bakehouse/apt"  # noqa: S108 - a tmpfs of the container's own
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, kw_only=True)
class Supply:
    """Where a build gets what it fetches.

    Attributes:
        name: Folder or address, as it was given.
        digest: Of the bundle's manifest.
        sources: apt's sources of each root file system.
        address: Where programs of this machine ask.
        folder: The bundle, if it is here; then layers have no network.
        resources: Open until the end of the build.
    """

    name: str
    digest: str
    sources: Mapping[str, tuple[str, ...]]
    address: str
    folder: Path | None
    resources: ExitStack

    @property
    def in_layers(self) -> str:
        """Where a layer asks."""
        return f"http://127.0.0.1:{PORT_IN_LAYER}" if self.folder else self.address

    @property
    def mirrors(self) -> dict[str, str]:
        """Where this machine finds what has an address: prefixes, and what stands for them."""
        return prefixes(self.folder.as_uri() if self.folder else self.address)

    @cached_property
    def in_machines(self) -> str:
        """Where a container with a network asks.

        Raises:
            HostError: This machine does not have the address of docker's bridge.
        """
        if self.folder is None:
            return self.address
        bundle = Bundle.opened(self.folder)
        return self.resources.enter_context(on_bridge(bundle))

    def sources_of(self, image: str) -> list[str]:
        """apt's sources of a root file system.

        Raises:
            DownloadError: The bundle was made without it.
        """
        if image not in self.sources:
            raise DownloadError(
                f"the bundle has nothing for {image}",
                where=self.name,
                remedy=f"{manifest.CREATE_AGAIN} with an image that stands on {image}",
            )
        return list(self.sources[image])

    def pip_options(self) -> tuple[list[str], dict[str, str]]:
        """Options and environment with which this machine's pip asks the bundle alone."""
        # --isolated does not make pip pass over the configuration of the whole machine.
        environment = {"PIP_CONFIG_FILE": os.devnull, **_NO_PROXIES}
        index = ["--isolated", "--index-url", f"{self.address}/simple/"]
        return [*index, "--trusted-host", str(urlsplit(self.address).hostname)], environment

    def apt_environment(self) -> dict[str, str]:
        """Environment in which this machine's apt asks the bundle alone."""
        return {"no_proxy": "", "NO_PROXY": "", "http_proxy": self.address}


_NO_PROXIES = {"no_proxy": "*", "NO_PROXY": "*"}


def apt_configuration(address: str) -> str:
    """apt's configuration for a bundle: addresses stay what they are, and the bundle answers.

    A bundle is one state of the distribution, so that its lists grow older than they promise.
    """
    return (
        f'Acquire::http::Proxy "{address}";\n'
        f'Acquire::http::Proxy::{urlsplit(address).hostname} "DIRECT";\n'
        'Acquire::Check-Valid-Until "false";\n'
    )


def pip_configuration(address: str) -> str:
    """pip's configuration for a bundle."""
    host = urlsplit(address).hostname
    return f"[global]\nindex-url = {address}/simple/\ntrusted-host = {host}\n"


def prefixes(address: str) -> dict[str, str]:
    """Prefixes of addresses and what stands in their place, as `bakehouse_mirrors` has them."""
    return {f"{scheme}://": f"{address}/{scheme}/" for scheme in ("https", "http")}


@contextmanager
def opened(name: str) -> Iterator[Supply]:
    """The supply from a bundle, verified.

    Args:
        name: A bundle's folder, or the address at which one is served.

    Raises:
        InputError: It is no bundle.
        DownloadError: The bundle is damaged, or lacks what the build asked for.
    """
    with ExitStack() as resources:
        remote = name.startswith(("http://", "https://"))
        supply = _remote(name, resources) if remote else _local(Path(name), resources)
        with _explained(name):
            yield supply


def _local(folder: Path, resources: ExitStack) -> Supply:
    found = manifest.read(folder)
    verification.refuse_broken(folder, found)
    return Supply(
        name=str(folder),
        digest=manifest.digest_of((folder / MANIFEST).read_bytes()),
        sources=found.sources,
        address=resources.enter_context(serving(Bundle.opened(folder), "127.0.0.1")),
        folder=folder.resolve(),
        resources=resources,
    )


def _remote(address: str, resources: ExitStack) -> Supply:
    if urlsplit(address).hostname in _LOOPBACK:
        raise InputError(
            "layers cannot reach this machine's loopback",
            where=address,
            remedy="name the bundle's folder, or serve it at an address that containers reach: "
            f"bakehouse mirror serve DIR --address {engine.bridge_address()}",
        )
    base = address.rstrip("/")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{base}/{MANIFEST}", timeout=60) as answer:
            text = answer.read()
    except (URLError, OSError, ValueError) as error:
        raise DownloadError(
            f"no bundle is served there: {error}",
            where=f"{base}/{MANIFEST}",
            remedy="start it: bakehouse mirror serve DIR --address …",
        ) from error
    found = manifest.parse(text.decode("utf-8", "replace"), base, recording=True)
    return Supply(
        name=base,
        digest=manifest.digest_of(text),
        sources=found.sources,
        address=base,
        folder=None,
        resources=resources,
    )


@contextmanager
def on_bridge(bundle: Bundle, kind: type[Handler] = Handler) -> Iterator[str]:
    """Serve a bundle to containers that have a network; yields the address.

    Raises:
        HostError: This machine does not have the address of docker's bridge.
    """
    gateway = engine.bridge_address()
    with ExitStack() as resources:
        try:
            address = resources.enter_context(serving(bundle, gateway, kind))
        except OSError as error:
            raise HostError(
                f"the bundle cannot be served to containers: {error.strerror}",
                where=gateway,
                remedy="the engine must be on this machine: `ip address` shows its bridge",
            ) from error
        yield address


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Tell a failure for want of a file from others."""
    try:
        yield
    except BuildError as error:
        if NOT_THERE not in str(error):
            raise
        raise lacking(error.what, f"{error.where} from {name}") from error


def lacking(what: str, where: str) -> DownloadError:
    """The error for a bundle that does not have what was asked for."""
    return DownloadError(
        f"the bundle lacks a file that is needed:\n{what}",
        where=where,
        remedy=f"{manifest.CREATE_AGAIN} for this image, from the files that are built here",
    )
