"""The roles as an Ansible collection: `python -m bakehouse.collection` packs the archive.

No galaxy.yml stands in the repository, since one at its root does not go together with the folder
molecule/; it is generated here, and the plugins of roles move to where a collection has them.
"""

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from ruamel.yaml import YAML

from bakehouse import layout, scratch

NAMESPACE, NAME = "bakehouse", "training"
FOLDER = layout.OUT / "collection"
PLUGINS = {"library": "modules", "filter_plugins": "filter", "module_utils": "module_utils"}
"""Folder of a role, and of a collection."""

REQUIRES_ANSIBLE = ">=2.18.0"
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", *PLUGINS)


def build(folder: Path = FOLDER) -> Path:
    """Pack the collection and return its archive.

    Args:
        folder: Where the archive goes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with scratch.folder("collection") as temporary:
        tree = temporary / "tree"
        tree.mkdir()
        write_tree(tree)
        subprocess.run(
            ["ansible-galaxy", "collection", "build", "--force", "--output-path", folder, tree],
            check=True,
            capture_output=True,
            text=True,
        )
    return folder / f"{NAMESPACE}-{NAME}-{version()}.tar.gz"


def version() -> str:
    """The package's version."""
    return metadata.version("bakehouse")


def write_tree(tree: Path) -> None:
    """Write the collection's source into an empty folder."""
    _write_yaml(tree / "galaxy.yml", _galaxy())
    _write_yaml(tree / "meta" / "runtime.yml", {"requires_ansible": REQUIRES_ANSIBLE})
    for name in ("README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy2(layout.ROOT / name, tree / name)
    shutil.copytree(layout.STACKS, tree / "stacks")
    for role in sorted(path for path in layout.ROLES.iterdir() if path.is_dir()):
        # What a role links to, such as the checks, goes along as files.
        shutil.copytree(role, tree / "roles" / role.name, symlinks=False, ignore=_LEFT_OUT)
        for there, here in PLUGINS.items():
            if (role / there).is_dir():
                target = tree / "plugins" / here
                shutil.copytree(
                    role / there, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__*")
                )
    _name_filters_fully(tree)
    _name_module_utils_fully(tree)


def _galaxy() -> dict[str, object]:
    return {
        "namespace": NAMESPACE,
        "name": NAME,
        "version": version(),
        "readme": "README.md",
        "authors": ["Bakehouse"],
        "description": "Roles that make machine images and containers for distributed training",
        "license_file": "LICENSE",
        "tags": ["hpc", "gpu", "training", "linux", "infrastructure"],
        "dependencies": {},
    }


def _name_filters_fully(tree: Path) -> None:
    """Modules and roles are looked for in the role's own collection first, filters are not."""
    filters = sorted(path.stem for path in (tree / "plugins" / "filter").glob("*.py"))
    if not filters:
        return
    used = re.compile(rf"(\|\s*)({'|'.join(filters)})\b")
    for pattern in ("tasks/*.yml", "vars/*.yml", "defaults/*.yml", "handlers/*.yml", "templates/*"):
        for path in sorted((tree / "roles").glob(f"*/{pattern}")):
            text = path.read_text(encoding="utf-8")
            path.write_text(used.sub(rf"\1{NAMESPACE}.{NAME}.\2", text), encoding="utf-8")


def _name_module_utils_fully(tree: Path) -> None:
    """What modules share is Ansible's own to a role, but the collection's to a collection."""
    shared = "|".join(path.stem for path in (tree / "plugins" / "module_utils").glob("*.py"))
    used = re.compile(rf"\bansible\.module_utils\.({shared})\b")
    for path in (tree / "plugins").glob("*/*.py") if shared else ():
        text = path.read_text(encoding="utf-8")
        full = rf"ansible_collections.{NAMESPACE}.{NAME}.plugins.module_utils.\1"
        path.write_text(used.sub(full, text), encoding="utf-8")


def _write_yaml(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


if __name__ == "__main__":
    sys.stdout.write(f"{build()}\n")
