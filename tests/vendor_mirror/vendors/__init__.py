"""One module per component, named as its record without `_release`; each defines what applies.

    packages(release)      what the vendor's repository for the platform holds
    archive(release)       the tree inside the archive (or the file) at the record's address
    file(release)          the content at the record's address, where that is no archive
    wheels(release)        the wheels of the record's requirements
    beside(release, key)   other addresses that the role asks for, such as signatures
    distribution(release)  packages of the platform's own distribution that its stand-in lacks

A module without a record in the stack is not asked.
"""

import importlib
import pkgutil
from types import ModuleType


def names() -> list[str]:
    """Components that some vendor here offers."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def of(component: str) -> ModuleType | None:
    """The module of a component; None if there is none."""
    if component not in names():
        return None
    return importlib.import_module(f"{__name__}.{component}")
