"""The image at the bottom: pulled by digest, or bootstrapped from the distribution's mirror."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from bakehouse import engine, layout
from bakehouse.builder import buildkit, context, host_configuration
from bakehouse.builder.children import bound
from bakehouse.builder.supply import APT_IN_LAYER, Supply
from bakehouse.console import progress
from bakehouse.errors import BuildError, HostError
from bakehouse.images import Image, latest, lineage
from bakehouse.mirror.server import IN_LAYER
from bakehouse.process import run

ROOTFS = "org.bakehouse.rootfs"
INPUTS = "org.bakehouse.build"
MIRROR = "BAKEHOUSE_DISTRIBUTION_MIRROR"
"""Names a mirror to bootstrap from instead of those of the host's apt."""

EPOCH = "1700000000"
DETERMINISTIC = {"SOURCE_DATE_EPOCH": EPOCH, "PYTHONDONTWRITEBYTECODE": "1"}
"""One mirror state gives one digest: the same times in every bootstrap, and only that byte code
which packages compile on purpose. What an import leaves depends on who imports first."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LATER = (
    # A bundle's lists may be older than they promise; as an option this would stay in the image.
    '--setup-hook=echo "Acquire::Check-Valid-Until false;" >> "$MMDEBSTRAP_APT_CONFIG"',
)
_DECISIVE = {"distribution", "suite", "reference", "packages", "parent"}


def ensure(
    image: Image, *, refresh: bool = False, supply: Supply | None = None
) -> tuple[str, bool]:
    """Make a rootfs image unless it is there.

    Args:
        image: Of kind rootfs; its parent, if any, must be there.
        refresh: Make it again even if it is there.
        supply: A bundle to make it from; no registry is asked then.

    Returns:
        Its content digest, and whether it was there already.

    Raises:
        BuildError: The mirror does not answer or lacks a package.
        DownloadError: A registry gave something else than the reference's digest promises.
    """
    wanted = inputs(image)
    present = engine.labels(f"{image.repository}:latest")
    if not refresh and present.get(INPUTS) == wanted:
        return content_digest(image), True
    if image.parent is not None:
        _add_packages(image, latest(image.parent), wanted, supply)
    elif supply or image.reference is None or not _pulled(image, image.reference, wanted):
        _bootstrapped(image, wanted, supply)
    return content_digest(image), False


def inputs(image: Image) -> str:
    """Digest of all that decides a rootfs image, but for the mirror's state."""
    below = content_digest_of(latest(image.parent)) if image.parent else ""
    decisive = image.model_dump(mode="json", include=_DECISIVE)
    text = json.dumps([decisive, below, EPOCH], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def content_digest(image: Image) -> str:
    """Digest over the layers' contents, which stays when the same content is imported again."""
    return content_digest_of(f"{image.repository}:latest")


def content_digest_of(reference: str) -> str:
    """As `content_digest`; empty if there is no such image."""
    found = engine.image(reference)
    layers = found.attrs["RootFS"]["Layers"] if found else []
    return hashlib.sha256("".join(layers).encode()).hexdigest() if layers else ""


def bootstrap(
    image: Image, tarball: Path, *, variant: str = "minbase", supply: Supply | None = None
) -> str:
    """Bootstrap a distribution into a tarball with mmdebstrap; returns the tarball's SHA-256.

    Raises:
        BuildError: The mirror does not answer, or lacks a package.
        HostError: mmdebstrap is not installed, or the disk is full.
    """
    if shutil.which("mmdebstrap") is None:
        raise HostError("mmdebstrap is not installed", remedy="run `make setup`")
    lines = supply.sources_of(image.name) if supply else sources(str(image.suite))
    command = [
        "mmdebstrap", f"--variant={variant}", "--mode=auto", *(_LATER if supply else ()),
        f"--include={','.join(image.packages)}", str(image.suite), str(tarball), *lines,
    ]  # fmt: skip
    proxies = supply.apt_environment() if supply else _proxies()
    try:
        run(
            bound(command),
            failure=BuildError,
            remedy="check that the distribution's mirror answers: apt-get update",
            env={**DETERMINISTIC, **proxies},
            quiet=True,
        )
    except BuildError as error:
        if "unable to pick chroot mode" in str(error):
            raise HostError(
                "an ordinary user bootstraps in a user namespace, and this one may not make any",
                where="mmdebstrap",
                remedy="as root: apt-get install uidmap, and give the user a line in /etc/subuid "
                f"and /etc/subgid; or as root, once: bakehouse build {image.name}",
            ) from error
        if "No space left on device" in str(error):
            raise HostError(
                f"the disk is full: {error.what}",
                where=str(tarball.parent),
                remedy="free some space and build again",
            ) from error
        raise
    with tarball.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sources(suite: str) -> list[str]:
    """Where to bootstrap a suite from: the host's own mirrors of it, if its apt knows any.

    Nothing means mmdebstrap's default. The lines stay in the image as its apt sources, so those
    with credentials are left out.
    """
    mirror = os.environ.get(MIRROR)
    if mirror:
        return [f"deb {mirror} {suite} main"]
    if shutil.which("apt-get") is None:
        return []
    listing = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
         "Created-By: Packages"],
        failure=HostError,
        quiet=True,
    )  # fmt: skip
    wanted = [suite, f"{suite}-updates", f"{suite}-security"]
    found = [line.split() for line in dict.fromkeys(listing.splitlines())]
    usable = [
        f"deb {uri} {release} {component}"
        for uri, release, component in (words for words in found if len(words) == 3)
        if release in wanted and component == "main" and _is_public(uri)
    ]
    return usable if any(line.split()[2] == suite for line in usable) else []


def _is_public(uri: str) -> bool:
    parts = urlsplit(uri)
    return parts.scheme in {"http", "https"} and parts.username is None


def _proxies() -> dict[str, str]:
    """The host's apt proxies as variables: as apt options they would stay in the image."""
    found = host_configuration.apt_proxy_addresses()
    return {f"{scheme}_proxy": address for scheme, address in found.items()}


def _bootstrapped(image: Image, wanted: str, supply: Supply | None) -> None:
    origin = supply.name if supply else "its mirror"
    progress.print(
        f"  bootstrapping {image.distribution} {image.suite} from {origin}", markup=False
    )
    scratch = layout.STATE / "rootfs"
    scratch.mkdir(parents=True, exist_ok=True)
    tarball = scratch / f"{image.name}.tar"
    try:
        with progress.status(f"{image.name}: mmdebstrap"):
            digest = bootstrap(image, tarball, supply=supply)
        changes = [
            f"ENV PATH={PATH}",
            'CMD ["/bin/bash"]',
            f"LABEL {ROOTFS}=sha256:{digest} {INPUTS}={wanted}",
        ]
        options = [part for change in changes for part in ("--change", change)]
        image_id = run(
            [engine.buildkit_client(), "import", *options, str(tarball)],
            failure=BuildError,
            remedy="is the disk full? see `docker system df`",
            quiet=True,
        ).strip()
    finally:
        tarball.unlink(missing_ok=True)
    engine.tag(image_id, image.repository, "latest")


def _pulled(image: Image, reference: str, wanted: str) -> bool:
    """Pull the rootfs by digest and add our packages; False where no registry gives it."""
    with progress.status(f"{image.name}: asking the registry"):
        refusal = engine.pull(reference)
    if refusal:
        name = reference.partition("@")[0]
        progress.print(f"  no registry gives {name}: {refusal}", markup=False)
        return False
    _add_packages(image, reference, wanted)
    return True


def _add_packages(image: Image, base: str, wanted: str, supply: Supply | None = None) -> None:
    packages = " ".join(image.packages)
    boots = any("systemd" in below.packages for below in lineage(image.name))
    command = "/lib/systemd/systemd" if boots else "/bin/bash"
    apt = context.apt_mounts("/var/lib/apt/lists", supply)
    mounts = "".join(f"--mount={mount} " for mount in [*apt, *context.bundle_mount(supply)])
    folder = context.write_dockerfile(
        image.name,
        f"FROM {base}\n"
        f"RUN --mount=type=secret,id=apt.conf,target={host_configuration.IN_BUILD}/apt.conf "
        f"--mount=type=tmpfs,target=/tmp {mounts}"
        f"if [ -s {host_configuration.IN_BUILD}/apt.conf ]; "
        f"then export APT_CONFIG={host_configuration.IN_BUILD}/apt.conf; fi; "
        f"mkdir -p {APT_IN_LAYER}/lists/partial {APT_IN_LAYER}/cache/archives/partial; "
        f"if [ -e {IN_LAYER}/server.py ]; then python3 {IN_LAYER}/server.py; fi; "
        "apt-get update --quiet && DEBIAN_FRONTEND=noninteractive "
        f"apt-get install --quiet --yes --no-install-recommends {packages}\n"
        f'CMD ["{command}"]\nLABEL {INPUTS}={wanted}\n',
        supply,
    )
    # The packages' versions are the mirror's, so a new build must ask it again.
    with host_configuration.options(image.name, supply) as more:
        built = buildkit.build(folder, where=image.name, options=["--no-cache", *more])
    engine.tag(built.image_id, image.repository, "latest")
