"""Conventions of the repository as a whole; each function returns findings, one line each."""

import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from ruamel.yaml import YAML

MOST_BYTES = 1_000_000
SECRETS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n\S{16}"),
    "an AWS access key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
}
# Written in two parts, so that this file names none of them.
REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("files", "pythonhosted", "org"),
            ("registry", "npmjs", "org"),
            ("deb", "debian", "org"),
            ("archive", "ubuntu", "com"),
            ("registry-1", "docker", "io"),
        )
    )
)
VERSION_DEFAULT = re.compile(r"^ARG +\w*(?:VERSION|RELEASE|SHA256|URL)\w*=", re.IGNORECASE)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def files(root: Path) -> list[Path]:
    """The files that belong to the repository."""
    if not (root / ".git").exists():
        return sorted(path for path in root.rglob("*") if path.is_file())
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others"]
    listing = subprocess.run(
        [*command, "--exclude-standard"], capture_output=True, text=True, check=True
    ).stdout
    paths = [root / name for name in listing.split("\0") if name]
    return [path for path in paths if path.is_file()]


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """Name and content of every text file."""
    for path in files(root):
        content = path.read_bytes()
        if b"\0" not in content:
            yield str(path.relative_to(root)), content.decode("utf-8", "replace")


def holds_no_binary(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}: a binary"
        for path in files(root)
        if b"\0" in path.read_bytes()[:8000]
    ]


def holds_no_large_file(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}: {path.stat().st_size} bytes"
        for path in files(root)
        if path.stat().st_size > MOST_BYTES
    ]


def holds_no_secret(root: Path) -> list[str]:
    return [
        f"{name}: {what}"
        for name, text in texts(root)
        for what, pattern in SECRETS.items()
        if pattern.search(text)
    ]


def names_no_registry(root: Path) -> list[str]:
    """Clients know their registries by their own configuration; stacks may cite sources."""
    return [
        f"{name}:{number}: {match[0]}"
        for name, text in texts(root)
        if not name.startswith("stacks/")
        for number, line in enumerate(text.splitlines(), 1)
        for match in REGISTRIES.finditer(line)
    ]


def names_not_where_it_lies(root: Path) -> list[str]:
    """A path of one machine is wrong on every other."""
    place = str(root.resolve())
    return [f"{name}: names {place}" for name, text in texts(root) if f"{place}/" in text]


def dockerfiles_leave_versions_to_the_stack(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}:{number}: {line}"
        for path in sorted(root.glob("containers/*/Dockerfile"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if VERSION_DEFAULT.match(line)
    ]


def pins_are_not_overdue(root: Path) -> list[str]:
    today = datetime.now(UTC).date().isoformat()
    return [
        f"{path.name}: {name} was to be reviewed by {record['pin']['review_by']}"
        for path in stacks(root)
        for name, record in document(path).items()
        if "pin" in record and str(record["pin"]["review_by"]) < today
    ]


def records_are_used(root: Path) -> list[str]:
    """Of the stacks that images are made from, every record is asked for by a role or a case."""
    images = document(root / "images.yml")["images"].values()
    used = {image["stack"] for image in images if "stack" in image}
    asked = {
        option
        for path in root.glob("roles/*/meta/argument_specs.yml")
        for entry in document(path)["argument_specs"].values()
        for option in entry.get("options", {})
    }
    cases = {image["case"] for image in images if image["kind"] == "case"}
    kinds = ("release", "source_release")  # of wheels, and of a source tree
    asked |= {f"{case.replace('-', '_')}_{kind}" for case in cases for kind in kinds}
    return [
        f"stacks/{stack}.yml: nobody uses {name}"
        for stack in sorted(used)
        for name, record in document(root / "stacks" / f"{stack}.yml").items()
        if name not in asked and "bundled_in" not in record
    ]


def links_lead_somewhere(root: Path) -> list[str]:
    return [
        f"{name}: {target} does not exist"
        for name, text in texts(root)
        if name.endswith(".md")
        for target in LINK.findall(text)
        if not (root / name).parent.joinpath(target).exists()
    ]


def readme_speaks_of_all_roles_and_images(root: Path) -> list[str]:
    readme = (root / "README.md").read_text(encoding="utf-8")
    roles = [path.name for path in root.glob("roles/*") if path.is_dir()]
    images = document(root / "images.yml")["images"]
    named = [*roles, *(name for name, image in images.items() if image["kind"] != "rootfs")]
    return [
        f"README.md says nothing of {name}" for name in sorted(named) if f"`{name}`" not in readme
    ]


def readme_commands_are_targets(root: Path) -> list[str]:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    return [
        f"{name}: there is no `make {target}`"
        for name, text in texts(root)
        if name.endswith(".md")
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)
        if target not in targets
    ]


CASE_SECTIONS = [
    "What it trains", "On what", "How to launch it", "Expected figures", "What you should see",
    "How to scale it", "Pitfalls",
]  # fmt: skip


def case_readmes_have_one_shape(root: Path) -> list[str]:
    """Each section once, in this order, and something in it; others may stand between them."""
    found = []
    for path in sorted(root.glob("containers/*/README.md")):
        parts = re.split(r"^## (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        sections = dict(zip(parts[1::2], parts[2::2], strict=True))
        name = path.relative_to(root)
        if [title for title in parts[1::2] if title in CASE_SECTIONS] != CASE_SECTIONS:
            found.append(f"{name}: the sections are not {', '.join(CASE_SECTIONS)}")
        else:
            found += [f"{name}: {t} is empty" for t in CASE_SECTIONS if not sections[t].strip()]
    return found


def loops_hide_no_failure(root: Path) -> list[str]:
    """A command that lists what to loop over may fail: the loop is then empty, and make content."""
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    return [
        f"Makefile: the loop over {listing} runs over nothing where that fails"
        for listing in re.findall(r"\bfor \w+ in (\$\$\([^)]*\)|`[^`]*`)", makefile)
    ]


def stacks(root: Path) -> list[Path]:
    """The stacks' files."""
    others = {"constraints.yml", "environment.yml", "instances.yml", "prices.yml"}
    return [path for path in sorted(root.glob("stacks/*.yml")) if path.name not in others]


def document(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Content of a YAML file."""
    return dict(YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {})


RULES: list[Callable[[Path], list[str]]] = [
    holds_no_binary,
    holds_no_large_file,
    holds_no_secret,
    names_no_registry,
    names_not_where_it_lies,
    dockerfiles_leave_versions_to_the_stack,
    pins_are_not_overdue,
    records_are_used,
    links_lead_somewhere,
    readme_speaks_of_all_roles_and_images,
    readme_commands_are_targets,
    case_readmes_have_one_shape,
    loops_hide_no_failure,
]
