"""The repository's roles keep the conventions, and each convention's test can fail."""

from collections.abc import Callable
from pathlib import Path

import pytest
import role_rules
from role_rules import RULES

from bakehouse import role_readme
from bakehouse.layout import ROOT

Rule = Callable[[Path], list[str]]

GOOD = {
    "roles/tool/README.md": (
        "# tool\n\nInstalls a tool that does not exist, so that rules can be tried on it.\n\n"
        f"{role_readme.BEGIN}\n{role_readme.END}\n"
    ),
    "roles/tool/meta/argument_specs.yml": (
        "---\nargument_specs:\n  main:\n    short_description: Install the tool\n    options:\n"
        "      tool_speed: {type: int, default: 1, description: How fast.}\n"
    ),
    "roles/tool/defaults/main.yml": "---\ntool_speed: 1\n",
    "roles/tool/vars/main.yml": "---\n__tool_targets: [machine]\n",
    "roles/tool/tasks/main.yml": "---\n# See https://example.com.\n- include_tasks: set_vars.yml\n",
    "roles/tool/tasks/set_vars.yml": "---\n- debug: {msg: __tool_facts}\n",
    "roles/other/README.md": (
        "# other\n\nIs beside the tool, so that two roles can differ in what all share.\n\n"
        f"{role_readme.BEGIN}\n{role_readme.END}\n"
    ),
    "roles/other/meta/argument_specs.yml": (
        "---\nargument_specs:\n  main:\n    short_description: Do nothing\n    options: {}\n"
    ),
    "roles/other/vars/main.yml": "---\n__other_targets: [machine, container]\n",
    "roles/other/tasks/main.yml": "---\n- include_tasks: set_vars.yml\n",
    "roles/other/tasks/set_vars.yml": "---\n- debug: {msg: __other_facts}\n",
    "molecule/tool/molecule.yml": "---\n",
    "molecule/other/molecule.yml": "---\n",
    "molecule/default/molecule.yml": "---\n",
    "tests/host/test_tool.py": "def test_tool(host):\n    assert host\n",
    "tests/host/test_other.py": "def test_other(host):\n    assert host\n",
}

# Rule, file, and what is appended to it; None removes the file.
BREAKS: list[tuple[Rule, str, str | None]] = [
    (role_rules.has_a_specification, "roles/tool/meta/argument_specs.yml", None),
    (role_rules.has_a_current_readme, "roles/tool/README.md", None),
    (
        role_rules.has_a_current_readme,
        "roles/tool/meta/argument_specs.yml",
        "      tool_size: {type: int, default: 1, description: How big.}\n",
    ),
    (role_rules.readme_says_something, "roles/tool/README.md", "="),
    (role_rules.has_its_scenario, "molecule/tool/molecule.yml", None),
    (role_rules.has_its_scenario, "molecule/stranger/molecule.yml", "---\n"),
    (role_rules.scenarios_are_empty, "molecule/tool/molecule.yml", "driver: {name: docker}\n"),
    (role_rules.has_a_host_test, "tests/host/test_tool.py", None),
    (role_rules.has_a_host_test, "tests/host/test_tool.py", "=def test_tool(host):\n    pass\n"),
    (role_rules.has_a_host_test, "tests/host/test_tool.py", "=def helper():\n    assert True\n"),
    (role_rules.defaults_are_specified, "roles/tool/defaults/main.yml", "tool_colour: red\n"),
    (role_rules.defaults_are_specified, "roles/tool/defaults/main.yml", "=---\ntool_speed: 2\n"),
    (role_rules.optional_options_have_defaults, "roles/tool/defaults/main.yml", None),
    (role_rules.variables_carry_the_roles_name, "roles/tool/defaults/main.yml", "speed: 1\n"),
    (role_rules.variables_carry_the_roles_name, "roles/tool/vars/main.yml", "tool_x: 1\n"),
    (
        role_rules.entry_points_are_task_files,
        "roles/tool/meta/argument_specs.yml",
        "  runtime: {short_description: Start it}\n",
    ),
    (
        role_rules.tasks_from_names_an_entry_point,
        "roles/other/tasks/main.yml",
        "- include_role:\n    name: tool\n    tasks_from: main.yml\n",
    ),
    (role_rules.set_vars_is_the_same, "roles/tool/tasks/set_vars.yml", "- debug:\n"),
    (role_rules.set_vars_is_the_same, "roles/tool/tasks/set_vars.yml", None),
    (
        role_rules.tasks_name_no_distribution,
        "roles/tool/tasks/main.yml",
        "- debug:\n  when: ansible_facts['os_family'] == 'X'\n",
    ),
    (
        role_rules.tasks_name_no_distribution,
        "roles/tool/tasks/main.yml",
        "- include_tasks: Ubuntu.yml\n",
    ),
    (
        role_rules.no_address_outside_the_stacks,
        "roles/tool/defaults/main.yml",
        "tool_from: https://example.com/tool\n",
    ),
    (
        role_rules.no_version_outside_the_stacks,
        "roles/tool/defaults/main.yml",
        'tool_version: "2.1"\n',
    ),
    (
        role_rules.no_version_outside_the_stacks,
        "roles/tool/tasks/main.yml",
        "- apt: {name: tool=1.2.3}\n",
    ),
    (role_rules.task_files_are_short, "roles/tool/tasks/main.yml", "- debug:\n" * 40),
    (role_rules.task_files_are_short, "roles/tool/tasks/install.yml", "- debug:\n" * 121),
    (role_rules.says_its_targets, "roles/tool/vars/main.yml", None),
    (role_rules.says_its_targets, "roles/tool/vars/main.yml", "=---\n__tool_targets: [moon]\n"),
    (
        role_rules.uses_only_builtin_modules,
        "roles/tool/tasks/main.yml",
        "- community.docker.docker_image:\n",
    ),
    (role_rules.leaves_become_and_errors_alone, "roles/tool/tasks/main.yml", "  become: true\n"),
    (
        role_rules.leaves_become_and_errors_alone,
        "roles/tool/tasks/main.yml",
        "  ignore_errors: true\n",
    ),
    (role_rules.has_no_empty_file, "roles/tool/handlers/main.yml", "---\n"),
]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository that keeps every rule."""
    for name, content in GOOD.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    for readme in role_readme.outdated(tmp_path / "roles"):
        readme.write_text(role_readme.render(readme.parent), encoding="utf-8")
    return tmp_path


def damage(path: Path, text: str | None) -> None:
    """Remove a file, append to it, or (with a leading "=") replace it."""
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text(encoding="utf-8") if path.is_file() and text[:1] != "=" else ""
    path.write_text(before + text.removeprefix("="), encoding="utf-8")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_our_roles_keep(rule: Rule) -> None:
    assert rule(ROOT) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_role_keeps(rule: Rule, repository: Path) -> None:
    assert rule(repository) == []


@pytest.mark.parametrize(
    ("rule", "name", "text"), BREAKS, ids=[f"{rule.__name__}-{n}" for rule, n, _ in BREAKS]
)
def test_a_broken_role_is_found(rule: Rule, name: str, text: str | None, repository: Path) -> None:
    damage(repository / name, text)
    findings = rule(repository)
    assert len(findings) == 1
    assert name.split("/")[1] in findings[0] or "test_tool" in findings[0]


def test_every_rule_was_broken_once() -> None:
    assert {rule for rule, _, _ in BREAKS} == set(RULES)


def test_there_are_roles_to_judge() -> None:
    assert len(role_rules.roles(ROOT)) >= 9
