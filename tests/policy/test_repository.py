"""The repository keeps its conventions, and each convention's test can fail."""

from collections.abc import Callable
from pathlib import Path

import pytest
import repository_rules as rules
from repository_rules import RULES

from bakehouse.layout import ROOT

Rule = Callable[[Path], list[str]]

GOOD = {
    "README.md": "Role `tool`, image `box`; see [more](docs/more.md). Run `make run`.\n",
    "docs/more.md": "Nothing more.\n",
    "Makefile": "run: ## the main job\n\ttrue\n",
    "images.yml": (
        "images:\n"
        "  plain: {kind: rootfs}\n"
        "  box: {kind: container, parent: plain, playbook: box, stack: box}\n"
        "  case-of-box: {kind: case, parent: box, case: drill}\n"
    ),
    "stacks/box.yml": (
        "tool_release: {version: '1', pin: {reason: so, review_by: '2999-01-01'}}\n"
        "drill_release: {version: '2'}\n"
        "bit_release: {version: '3', bundled_in: drill_release}\n"
    ),
    "roles/tool/meta/argument_specs.yml": (
        "argument_specs:\n  main:\n    options:\n      tool_release: {type: dict}\n"
    ),
    "containers/drill/Dockerfile": "ARG BASE\nFROM $BASE\nARG DRILL_VERSION\n",
}
GOOD["README.md"] += "Image `case-of-box`.\n"
GOOD["containers/drill/README.md"] = "# drill\n" + "".join(
    f"## {title}\nWords.\n" for title in rules.CASE_SECTIONS
)

BREAKS: list[tuple[Rule, str, bytes | None]] = [
    (rules.holds_no_binary, "logo.png", b"\x89PNG\x00"),
    (rules.holds_no_large_file, "log.txt", b"x" * 1_000_001),
    (rules.holds_no_secret, "key.pem", b"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75"),
    (rules.holds_no_secret, "aws.txt", b"AKIA" + b"A" * 16),
    (rules.holds_no_secret, "token.txt", b"ghp_" + b"a" * 36),
    (rules.names_no_registry, "pip.conf", b"index-url = https://pypi" + b".org/simple\n"),
    (rules.names_not_where_it_lies, "notes.md", b"{root}/notes.md\n"),
    (
        rules.dockerfiles_leave_versions_to_the_stack,
        "containers/drill/Dockerfile",
        b"ARG DRILL_VERSION=2\n",
    ),
    (
        rules.pins_are_not_overdue,
        "stacks/box.yml",
        b"saw_release: {bundled_in: x, pin: {review_by: '2020-01-01'}}\n",
    ),
    (rules.records_are_used, "stacks/box.yml", b"saw_release: {version: '1'}\n"),
    (rules.links_lead_somewhere, "docs/more.md", None),
    (rules.readme_speaks_of_all_roles_and_images, "roles/saw/README.md", b"A saw.\n"),
    (rules.readme_speaks_of_all_roles_and_images, "images.yml", b"  new: {kind: machine}\n"),
    (rules.readme_commands_are_targets, "docs/more.md", b"Run `make coffee`.\n"),
    (rules.case_readmes_have_one_shape, "containers/drill/README.md", b"## Pitfalls\nMore.\n"),
    (rules.case_readmes_have_one_shape, "containers/saw/README.md", b"# saw\n"),
    (rules.loops_hide_no_failure, "Makefile", b"\tfor x in $$(false); do true $$x; done\n"),
]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository that keeps every rule."""
    for name, content in GOOD.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_our_repository_keeps(rule: Rule) -> None:
    assert rule(ROOT) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_repository_keeps(rule: Rule, repository: Path) -> None:
    assert rule(repository) == []


@pytest.mark.parametrize(
    ("rule", "name", "content"), BREAKS, ids=[f"{rule.__name__}-{n}" for rule, n, _ in BREAKS]
)
def test_a_broken_convention_is_found(
    rule: Rule, name: str, content: bytes | None, repository: Path
) -> None:
    path = repository / name
    if content is None:
        path.unlink()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            stream.write(content.replace(b"{root}", str(repository).encode()))
    assert len(rule(repository)) == 1


def test_every_rule_was_broken_once() -> None:
    assert {rule for rule, _, _ in BREAKS} == set(RULES)
