"""What every bake tells Ansible, and how it tells of the roles that ran."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bakehouse.builder import identity, plan
from bakehouse.builder.buildkit import Step
from bakehouse.builder.result import Layer
from bakehouse.images import Image, playbook_roles
from bakehouse.stacks.stack import Stack


def variables(image: Image, stack: Stack, build: str, host: Path) -> dict[str, Any]:
    """Ansible variables beyond the stack's.

    Args:
        image: What is baked.
        stack: Of what.
        build: Id of the build.
        host: Folder with this host's configuration, as host_configuration.files makes it.
    """
    mirrors = host / "mirrors.json"
    return {
        **(json.loads(mirrors.read_text(encoding="utf-8")) if mirrors.is_file() else {}),
        **identity.values(image, stack),
        "image_info_build": build,
        "bakehouse_package_lists_valid_s": plan.LISTS_VALID_S,
    }


def layers(
    image: Image, key: str, steps: Mapping[str, Step], sizes: Mapping[str, int]
) -> list[Layer]:
    """The roles of a bake that keeps no layers: all ran, if any did.

    Args:
        image: Whose roles.
        key: Digest of all that decides the image.
        steps: Those that have run, by name.
        sizes: Bytes that each wrote.
    """
    return [
        Layer(
            name=name,
            kind="role",
            key=key,
            cached=False,
            seconds=round(steps[name].seconds, 2) if name in steps else 0.0,
            bytes=sizes.get(name, 0),
            tasks=steps[name].tasks if name in steps else [],
        )
        for name in playbook_roles(str(image.playbook))
    ]
