"""RPM packages and signed dnf repositories."""

import re
import subprocess
import tempfile
from pathlib import Path

from vendor_mirror.apt import write_tree
from vendor_mirror.offer import Package
from vendor_mirror.signing import NAME, Key

RELEASE = "1.fixture"


def build(package: Package, folder: Path) -> None:
    """Make an .rpm in a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        root.mkdir()
        write_tree(package.files, root)
        specification = Path(scratch, "package.spec")
        specification.write_text(_specification(package, root), encoding="utf-8")
        defined = {"_rpmdir": scratch, "_topdir": scratch, "_build_id_links": "none"}
        options = [part for item in defined.items() for part in ("--define", " ".join(item))]
        command = ["rpmbuild", "--quiet", *options, "-bb", str(specification)]
        subprocess.run(command, check=True, capture_output=True)
        (made,) = Path(scratch, "noarch").glob("*.rpm")
        made.rename(folder / made.name)


def repository(folder: Path, key: Key) -> None:
    """Sign and index the packages in a folder."""
    packages = sorted(str(path) for path in folder.glob("*.rpm"))
    if packages:
        _sign(packages, key)
    command = ["createrepo_c", "--quiet", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def _sign(packages: list[str], key: Key) -> None:
    defined = {"_gpg_name": NAME, "__gpg": "/usr/bin/gpg", "_gpg_path": str(key.home)}
    options = [part for item in defined.items() for part in ("--define", " ".join(item))]
    subprocess.run(
        ["rpmsign", *options, "--addsign", *packages],
        check=True,
        capture_output=True,
        env={"GNUPGHOME": str(key.home), "PATH": "/usr/bin:/bin"},
    )


def _specification(package: Package, root: Path) -> str:
    lines = [
        f"Name: {package.name}",
        f"Version: {package.version}",
        f"Release: {RELEASE}",
        *([f"Epoch: {package.epoch}"] if package.epoch else []),
        f"Summary: stands in for {package.name}",
        "License: none",
        "BuildArch: noarch",
        "AutoReqProv: no",
        *[f"Requires: {_relation(name)}" for name in package.depends],
        *[f"Conflicts: {_relation(name)}" for name in package.conflicts],
        *[f"Provides: {_relation(name)}" for name in package.provides],
        # Libraries are of this machine's architecture, and are wanted as they are.
        "%global _binaries_in_noarch_packages_terminate_build 0",
        "%global __os_install_post %{nil}",
        "%description",
        "%install",
        f"mkdir -p %{{buildroot}}; cp -a {root}/. %{{buildroot}}/",
        *(_script("%post", package.after) if package.after else []),
        *(_script("%preun", package.before_removal) if package.before_removal else []),
        *(_script("%postun", package.after_removal) if package.after_removal else []),
        "%files",
        *[f'"{name}"' for name in sorted(package.files)],
    ]
    return "\n".join(lines) + "\n"


def _script(when: str, commands: str) -> list[str]:
    """Commands in Lua, which is a part of rpm: a shell would have to come from a package."""
    return [f"{when} -p <lua>", f"os.execute([[{commands}]])"]


def _relation(text: str) -> str:
    """A relation as Debian writes it, such as `a (= 1-1+fixture)`, as RPM writes it."""
    text = re.sub(r"\(([<>=]+)\s*([^)]+)\)", r"\1 \2", text).replace("-1+fixture", f"-{RELEASE}")
    return text.replace(">>", ">").replace("<<", "<")
