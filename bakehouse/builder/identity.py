"""Who an image says it is: values for the role image_info, and the key below the first role."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

from bakehouse import layout
from bakehouse.builder import wheelhouse
from bakehouse.builder.plan import IDENTITY_ROLE
from bakehouse.images import Image, playbook_roles
from bakehouse.stacks.stack import Stack


def values(image: Image, stack: Stack) -> dict[str, Any]:
    """Variables of the role image_info, all but the build id."""
    return {
        "image_info_image": image.name,
        "image_info_commit": commit(image, stack),
        "image_info_stack_name": stack.name,
        "image_info_stack_digest": stack.digest,
        "image_info_stack_versions": stack.versions,
    }


def commit(image: Image, stack: Stack) -> str:
    """The last commit that touched what lies below the identity; "+modified" if files differ.

    Other commits do not change the image, so they must not change its identity.
    """
    roles = playbook_roles(str(image.playbook))
    below = roles[: roles.index(IDENTITY_ROLE)] if IDENTITY_ROLE in roles else roles
    paths = [layout.ROLES / role for role in below]
    paths += [layout.PLAYBOOKS / f"{image.playbook}.yml", stack.path, layout.IMAGES_FILE]
    names = [str(path) for path in paths]
    found = _git("log", "-1", "--format=%H", "--", *names)
    if not found:
        return "unknown"
    return f"{found}+modified" if _git("status", "--porcelain", "--", *names) else found


def base_key(content: str) -> str:
    """Key below the first role: the base image's content and the Ansible that will work on it."""
    lock = "\n".join(wheelhouse.controller_lines()).encode()
    script = (Path(__file__).parent / "apply_role.sh").read_bytes()
    return hashlib.sha256(content.encode() + lock + script).hexdigest()


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(layout.ROOT), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""
