"""Which stack a target is held against."""

from functools import cache
from typing import Any

from bakehouse.stacks.stack import load_stack, stack_names
from bakehouse.versions.components import Promises


@cache
def of_stack(name: str) -> Promises:
    """What a stack of this repository promises.

    Raises:
        InputError: There is no such stack, or its file is wrong.
    """
    return Promises.of(load_stack(name))


def of_identity(identity: dict[str, Any]) -> Promises | None:
    """What the stack that an image names promises; None if it names none.

    A stack which this repository does not have is taken as it was when the image was baked.
    """
    stack = identity.get("stack")
    if not isinstance(stack, dict) or not isinstance(stack.get("name"), str):
        return None
    name = stack["name"]
    if name in stack_names():
        return of_stack(name)
    versions = stack.get("versions")
    if not isinstance(versions, dict):
        return None
    told = {str(key): str(value) for key, value in versions.items()}
    return Promises(name=f"{name} (as baked)", versions=told, wheels={})
