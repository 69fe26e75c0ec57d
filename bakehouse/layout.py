"""Where things are in the repository and where results go."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("BAKEHOUSE_ROOT", Path(__file__).resolve().parent.parent))

STACKS = ROOT / "stacks"
ROLES = ROOT / "roles"
PLAYBOOKS = ROOT / "playbooks"
CONTAINERS = ROOT / "containers"
SHARED = CONTAINERS / "shared"
"""Packages that several test cases are trained with."""

PACKER = ROOT / "packer"
HOST_TESTS = ROOT / "tests" / "host"
IMAGES_FILE = ROOT / "images.yml"

OUT = Path(os.environ.get("BAKEHOUSE_OUT", ROOT / "out"))
"""Results for people: one folder per image."""

NAMESPACE = os.environ.get("BAKEHOUSE_NAMESPACE", "bakehouse")
"""Head of the names of all images in docker: builds under another one touch none of this one's."""

STATE = Path(os.environ.get("BAKEHOUSE_STATE", ROOT / ".bakehouse"))
"""Caches, locks, keys and build contexts; may be deleted at any time, costing only time."""
