"""Looks into every layer of an image, what later layers hide included."""

import json
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

from bakehouse import engine

NAMES = {
    "Ansible": re.compile(r"ansible|mitogen", re.IGNORECASE),
    "a cache of pip": re.compile(r"(^|/)\.cache/|(^|/)pip/(http|selfcheck|wheels)"),
    "a configuration of pip": re.compile(r"(^|/)(pip\.conf|\.pip/.*)$"),
    "credentials": re.compile(r"(^|/)(\.netrc|\.pypirc|\.git-credentials|\.docker/config\.json)$"),
    "something of a mount": re.compile(r"^(mnt|media|srv|tmp|run/secrets)/."),
    "a cache of apt": re.compile(r"^var/(cache/apt|lib/apt/lists)/.*[^/]$"),
    "proxies of apt": re.compile(r"^etc/apt/apt\.conf\.d/.*proxy"),
}
"""What must not be in a layer, by its name."""


def layers(reference: str, above: str) -> Iterator[tarfile.TarFile]:
    """The layers of an image that do not belong to the image below it."""
    base = engine.connect().images.get(above).attrs["RootFS"]["Layers"]
    with tempfile.TemporaryFile() as saved:
        saved.writelines(engine.connect().images.get(reference).save())
        saved.seek(0)
        with tarfile.open(fileobj=saved) as archive:
            manifest = json.load(_file(archive, "manifest.json"))
            for name in manifest[0]["Layers"][len(base) :]:
                with tarfile.open(fileobj=_file(archive, name)) as layer:
                    yield layer


def findings(reference: str, above: str, secrets: Iterable[str] = ()) -> list[str]:
    """What is in the layers and should not be, one line each."""
    needles = [secret.encode() for secret in secrets]
    found = []
    for number, layer in enumerate(layers(reference, above)):
        for member in layer:
            name = member.name.removeprefix("./")
            if name.rpartition("/")[2].startswith(".wh."):
                continue  # says that something below is gone
            whats = [what for what, pattern in NAMES.items() if pattern.search(name)]
            if member.isdir():
                whats = [what for what in whats if what == "Ansible"]
            if member.isfile() and needles:
                content = _file(layer, member).read()
                whats += ["a secret" for needle in needles if needle in content]
            found += [f"layer {number}: {what}: {name}" for what in whats]
    return found


def configuration(reference: str) -> str:
    """All that docker remembers of how an image was made: commands, variables, labels."""
    image = engine.connect().images.get(reference)
    return json.dumps([image.attrs, image.history()])


def _file(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(member)
    assert found is not None
    return found
