"""A mirror of everything that a stack fetches from vendors, and the stack that goes with it."""

import copy
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vendor_mirror import amazon_linux, apt, archives, dnf, vendors, wheels
from vendor_mirror.offer import Package, Release, digest
from vendor_mirror.signing import Key, key

MOUNTED = "/vendor_mirror"
"""Where a machine under test finds the mirror: no folder that an image must have empty."""

DISTRIBUTION = "distribution"
"""Folder of packages that stand in for the distribution's own."""

PIP = "pip.conf"
"""File that tells pip of the index that stands in for its usual one; there if wheels are."""

PACKAGE_MANAGER = "package-manager"
"""File that tells apt or dnf of that folder."""

_AT = f"{MOUNTED}/{DISTRIBUTION}"
_APT = f"Types: deb\nURIs: file://{_AT}\nSuites: /\nSigned-By: {_AT}.asc\n"
_DNF = f"[stand-in]\nname=stand-in\nbaseurl=file://{_AT}\ngpgcheck=1\ngpgkey=file://{_AT}.asc\n"

Variables = dict[str, Any]
Edition = Mapping[str, str | Variables]
"""Component to version, or to a whole record, where it is another than the stack's."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A repository: where it is, and how apt calls it."""

    address: str
    suite: str = ""
    components: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Mirror:
    """A mirror in the making.

    Attributes:
        platform: Such as `ubuntu24.04-x86_64`.
        folder: What is served; one folder per host.
        packages: What each repository holds, by name and version.
    """

    platform: str
    folder: Path
    key: Key
    packages: dict[Place, dict[tuple[str, str], Package]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    @property
    def architecture(self) -> str:
        """As the kernel names it."""
        return self.platform.rpartition("-")[2]

    def write(self, address: str, content: bytes) -> None:
        """Put content at an address."""
        path = self.path(address)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def path(self, address: str) -> Path:
        """Where an address lies."""
        parts = urlsplit(address)
        return self.folder / parts.netloc / parts.path.strip("/")

    def offer(self, place: Place, packages: Sequence[Package]) -> None:
        """Put packages into a repository."""
        self.packages[place].update({(p.name, p.version): p for p in packages})

    def index(self) -> None:
        """Build all packages, and sign every repository."""
        for place, packages in self.packages.items():
            folder = self.path(place.address)
            folder.mkdir(parents=True, exist_ok=True)
            for package in packages.values():
                (dnf if self.is_dnf else apt).build(package, folder)
            if self.is_dnf:
                dnf.repository(folder, self.key)
            else:
                apt.repository(folder, self.key, self.architecture, place.suite, place.components)

    def describe_distribution(self) -> None:
        """Write how the package manager is told of the distribution's stand-in."""
        text = _DNF if self.is_dnf else _APT
        (self.folder / PACKAGE_MANAGER).write_text(text, encoding="utf-8")

    @property
    def is_dnf(self) -> bool:
        """Whether its packages are RPMs."""
        return self.platform.startswith("amazon")


def make(
    stack: Variables, platform: str, folder: Path, editions: Sequence[Edition] = ({},)
) -> None:
    """Write the mirror to `folder/mirror`, and the stack of each edition beside it.

    Args:
        stack: A stack's variables.
        platform: Such as `ubuntu24.04-x86_64`.
        folder: An empty folder.
        editions: The first becomes `stack.json`, the others `stack-1.json` and so on; their
            versions lie side by side in the repositories.
    """
    with key() as signing:
        mirror = Mirror(platform=platform, folder=folder / "mirror", key=signing)
        mirror.path(DISTRIBUTION).mkdir(parents=True)
        common = amazon_linux.packages() if mirror.is_dnf else []
        mirror.offer(Place(address=DISTRIBUTION), common)
        for number, edition in enumerate(editions):
            variables = publish(mirror, _with_versions(stack, edition))
            name = f"stack-{number}.json" if number else "stack.json"
            (folder / name).write_text(json.dumps(variables, indent=1), encoding="utf-8")
        mirror.write(f"{DISTRIBUTION}.asc", signing.public)
        mirror.index()
        mirror.describe_distribution()


def publish(mirror: Mirror, stack: Variables) -> Variables:
    """Publish what a stack fetches; returns the stack with the digests and keys of this mirror."""
    result = copy.deepcopy(stack)
    hosts: set[str] = set()
    for name, record in result.items():
        component = name.removesuffix("_release")
        hosts |= {urlsplit(address).netloc for address in _addresses(record)}
        vendor = vendors.of(component)
        source = _source(record, mirror.platform)
        release = Release(
            component=component,
            version=str(record["version"]),
            record=record,
            platform=mirror.platform,
            package=str((source or {}).get("package") or record.get("package") or ""),
            bundled={
                key: str(each["version"])
                for key, each in result.items()
                if each.get("bundled_in") == name
            },
        )
        if vendor is None:
            continue
        if hasattr(vendor, "distribution"):
            mirror.offer(Place(address=DISTRIBUTION), list(vendor.distribution(release)))
        if source is not None:
            _publish_source(mirror, release, vendor, source)
            if "signature" in record:
                _sign(mirror, record, source["url"])
        if hasattr(vendor, "wheels"):
            _publish_wheels(mirror, list(vendor.wheels(release)), record)
    result["bakehouse_mirrors"] = {
        f"https://{host}/": f"file://{MOUNTED}/{host}/" for host in sorted(hosts)
    }
    return result


def _publish_source(mirror: Mirror, release: Release, vendor: Any, source: Variables) -> None:
    """Publish the release at its record's address, and write what verifies it into the record."""
    if "repository" in source:
        place = Place(
            address=source["repository"],
            suite=source.get("suite", ""),
            components=tuple(source.get("components", ())),
        )
        mirror.offer(place, list(vendor.packages(release)))
        mirror.write(source["key_url"], mirror.key.public)
        source.pop("key_sha256", None)
        source["key_fingerprint"] = mirror.key.fingerprint
    elif "url" in source:
        name = urlsplit(source["url"]).path.rpartition("/")[2]
        content = (
            vendor.file(release)
            if hasattr(vendor, "file")
            else archives.pack(vendor.archive(release), name)
        )
        mirror.write(source["url"], content)
        source["sha256"] = digest(content)
    if hasattr(vendor, "beside"):
        for address, content in vendor.beside(release, mirror.key).items():
            mirror.write(address, content)


def _sign(mirror: Mirror, record: Variables, address: str) -> None:
    """Publish the signature beside its file, and write whose it is into the record."""
    file, signature = mirror.path(address), record["signature"]
    mirror.key.sign(file, mirror.path(address + signature["suffix"]), armour=False)
    signature["key"] = mirror.key.public.decode()
    signature["fingerprint"] = mirror.key.fingerprint


def _publish_wheels(mirror: Mirror, made: list[wheels.Wheel], record: Variables) -> None:
    """Publish wheels in the record's index and in the usual one; write their digests down."""
    own = f"{record['index'].rstrip('/')}/"
    for place, vendors_own in ((own, True), (f"{wheels.PYPI}/", False)):
        offered = wheels.index(wheel for wheel in made if wheel.vendors == vendors_own)
        for name, content in offered.items():
            mirror.write(f"{place}{name}", content)
    digests = {wheel.name: digest(wheel.content()) for wheel in made}
    for requirement in record["requirements"]:
        requirement["sha256"] = [digests[requirement["name"]]]
    usual = f"[global]\nindex-url = file://{MOUNTED}/{wheels.PYPI}/\n"
    mirror.write(PIP, usual.encode())


def _source(record: Variables, platform: str) -> Variables | None:
    """The part of a record that names an address on a platform; None if none does."""
    if "by_platform" in record:
        found: Variables | None = record["by_platform"].get(platform)
        return found
    if "by_architecture" in record:
        return dict.get(record["by_architecture"], platform.rpartition("-")[2])
    return record if "repository" in record or "url" in record else None


def _addresses(value: Any) -> Iterator[str]:
    """Every address in a record, but for those that only explain it."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name != "pin":
                yield from _addresses(part)
    elif isinstance(value, list):
        for part in value:
            yield from _addresses(part)
    elif isinstance(value, str) and value.startswith("https://"):
        yield value


def _with_versions(stack: Variables, edition: Edition) -> Variables:
    """The stack with other records, or other versions of some, which are in addresses too."""
    result = copy.deepcopy(stack)
    for component, version in edition.items():
        if isinstance(version, dict):
            result[component] = copy.deepcopy(version)
            continue
        before = str(result[component]["version"])
        changed = json.dumps(result[component]).replace(before, version)
        result[component] = json.loads(changed)
    return result
