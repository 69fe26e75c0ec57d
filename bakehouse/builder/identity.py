"""Who an image says it is: values for the role image_info, and the key below the first role."""

import hashlib
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bakehouse import layout
from bakehouse.builder import context, wheelhouse
from bakehouse.builder.plan import IDENTITY_ROLE, with_included
from bakehouse.errors import InputError
from bakehouse.images import Image
from bakehouse.playbooks import load_playbook
from bakehouse.stacks import documents
from bakehouse.stacks.stack import Stack

_LEFT_OUT = ("README.md", "molecule/**", "tests/**")


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

    Other commits do not change the image, so they must not change its identity: images.yml is left
    out, since it speaks of all images; what it says of this one is in the image's labels.
    """
    playbook = load_playbook(str(image.playbook))
    roles = list(playbook.roles)
    below = roles[: roles.index(IDENTITY_ROLE)] if IDENTITY_ROLE in roles else roles
    names = dict.fromkeys(name for role in below for name in with_included(role))
    folders = [str(layout.ROLES / name) for name in names]
    inputs = [*folders, *[f":(exclude,glob)**/{name}" for name in _LEFT_OUT]]
    readers: dict[Path, Callable[[Path], Any]] = {
        **dict.fromkeys(playbook.files, documents.load_list),
        stack.path: lambda path: documents.load(path).data,
    }
    found = _git("log", "-1", "--format=%H", "--", *inputs, *map(str, readers))
    if not found:
        return "unknown"
    modified = bool(_changed(*inputs)) or any(
        _changed(str(path)) and _differs(path, read) for path, read in readers.items()
    )
    return f"{found}+modified" if modified else found


def base_key(content: str) -> str:
    """Key below the first role: the base image's content and the builder that will work on it."""
    lock = "\n".join(wheelhouse.controller_lines())
    text = f"{content}\n{lock}\n{context.mechanism()}"
    return hashlib.sha256(text.encode()).hexdigest()


def _changed(*paths: str) -> str:
    return _git("status", "--porcelain", "--", *paths)


def _differs(path: Path, read: Callable[[Path], Any]) -> bool:
    """A YAML file says something else than in the last commit: more than a comment differs."""
    past = _git("show", f"HEAD:./{path.relative_to(layout.ROOT)}")
    with tempfile.NamedTemporaryFile("w", suffix=path.suffix, encoding="utf-8") as copy:
        copy.write(f"{past}\n")
        copy.flush()
        try:
            return bool(read(Path(copy.name)) != read(path))
        except InputError:
            return True


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(layout.ROOT), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.rstrip("\n") if done.returncode == 0 else ""
