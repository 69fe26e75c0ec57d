"""The image at the bottom: pulled by digest, or bootstrapped from the distribution's mirror."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from docker.errors import DockerException

from bakehouse import engine, layout
from bakehouse.builder import buildkit
from bakehouse.console import progress
from bakehouse.errors import BuildError, HostError
from bakehouse.images import Image
from bakehouse.process import run

ROOTFS = "org.bakehouse.rootfs"
INPUTS = "org.bakehouse.build"
EPOCH = "1700000000"
"""Every bootstrap writes the same times, so that one mirror state gives one digest."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def ensure(image: Image, *, refresh: bool = False) -> tuple[str, bool]:
    """Make a rootfs image unless it is there.

    Args:
        image: Of kind rootfs; its parent, if any, must be there.
        refresh: Make it again even if it is there.

    Returns:
        Its content digest, and whether it was there already.

    Raises:
        BuildError: The mirror does not answer or lacks a package.
    """
    wanted = inputs(image)
    present = engine.labels(f"{image.repository}:latest")
    if not refresh and present.get(INPUTS) == wanted:
        return content_digest(image), True
    if image.parent is not None:
        _extend(image, wanted)
    elif image.reference is None or not _pulled(image, wanted):
        _bootstrapped(image, wanted)
    return content_digest(image), False


def inputs(image: Image) -> str:
    """Digest of all that decides a rootfs image, but for the mirror's state."""
    below = content_digest_of(f"bakehouse/{image.parent}:latest") if image.parent else ""
    text = json.dumps([image.model_dump(mode="json"), below, EPOCH], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def content_digest(image: Image) -> str:
    """Digest over the layers' contents, which stays when the same content is imported again."""
    return content_digest_of(f"{image.repository}:latest")


def content_digest_of(reference: str) -> str:
    """As `content_digest`; empty if there is no such image."""
    found = engine.image(reference)
    layers = found.attrs["RootFS"]["Layers"] if found else []
    return hashlib.sha256("".join(layers).encode()).hexdigest() if layers else ""


def bootstrap(image: Image, tarball: Path) -> str:
    """Bootstrap a distribution into a tarball with mmdebstrap; returns the tarball's SHA-256.

    Raises:
        BuildError: The mirror does not answer, or lacks a package.
    """
    if shutil.which("mmdebstrap") is None:
        raise HostError("mmdebstrap is not installed", remedy="run `make setup`")
    run(
        [
            "mmdebstrap", "--quiet", "--variant=minbase", "--mode=auto",
            f"--include={','.join(image.packages)}", str(image.suite), str(tarball),
            *_mirror(),
        ],
        failure=BuildError,
        remedy="check that the distribution's mirror answers: apt-get update",
        env={"SOURCE_DATE_EPOCH": EPOCH},
    )  # fmt: skip
    with tarball.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _mirror() -> list[str]:
    """A mirror other than the distribution's default, for closed networks."""
    mirror = os.environ.get("BAKEHOUSE_DISTRIBUTION_MIRROR")
    return [mirror] if mirror else []


def _bootstrapped(image: Image, wanted: str) -> None:
    progress.print(f"  bootstrapping {image.distribution} {image.suite} from its mirror")
    with tempfile.TemporaryDirectory(prefix="bakehouse-rootfs-", dir=_scratch()) as scratch:
        tarball = Path(scratch, "rootfs.tar")
        digest = bootstrap(image, tarball)
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
    engine.tag(image_id, image.repository, "latest")


def _pulled(image: Image, wanted: str) -> bool:
    """Pull the rootfs by digest and add our packages; False where no registry answers."""
    assert image.reference is not None
    try:
        engine.connect().images.pull(image.reference)
    except DockerException as error:
        progress.print(f"  no registry gives {image.reference.split('@')[0]} ({_short(error)})")
        return False
    _add_packages(image, image.reference, wanted)
    return True


def _extend(image: Image, wanted: str) -> None:
    _add_packages(image, f"bakehouse/{image.parent}:latest", wanted)


def _add_packages(image: Image, base: str, wanted: str) -> None:
    packages = " ".join(image.packages)
    command = "/lib/systemd/systemd" if "systemd" in image.packages else "/bin/bash"
    folder = layout.STATE / "context" / image.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text(
        f"# Generated by `bakehouse build`.\nFROM {base}\n"
        "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked "
        "--mount=type=cache,target=/var/lib/apt/lists,sharing=locked "
        "apt-get update --quiet && DEBIAN_FRONTEND=noninteractive "
        f"apt-get install --quiet --yes --no-install-recommends {packages}\n"
        f'CMD ["{command}"]\nLABEL {INPUTS}={wanted}\n',
        encoding="utf-8",
    )
    # The packages' versions are the mirror's, so a new build must ask it again.
    image_id = buildkit.build(folder, options=["--no-cache"]).image_id
    engine.tag(image_id, image.repository, "latest")


def _scratch() -> Path:
    layout.STATE.mkdir(parents=True, exist_ok=True)
    return layout.STATE


def _short(error: Exception) -> str:
    return str(error).split(":")[-1].strip(' ")')
