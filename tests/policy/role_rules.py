"""The conventions of roles, each as a function from a repository to what breaks it."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bakehouse import role_readme
from bakehouse.errors import InputError
from bakehouse.stacks import documents

LONGEST_TASK_FILE = 120
LONGEST_MAIN = 40
TARGETS = {"machine", "container"}
WITHOUT_ROLE = {"default"}
"""Scenarios that are not named after a role."""

# By name only: what a distribution calls its files (such as /etc/debian_version) is data too.
# Amazon is also a vendor, of /opt/amazon and of agents.
DISTRIBUTION = re.compile(
    r"debian|ubuntu|(?<![\w/-])amazon(\d|(?![\w-]))|red ?hat|rhel|centos|fedora|rocky|alma|suse|"
    r"ansible_facts\[?.?(os_family|distribution)",
    re.IGNORECASE,
)
URL = re.compile(r"(https?|ftp)://(?!vendor\.example)")
VERSION = re.compile(r"""(?<![\w./-])v?\d+\.\d+(\.\d+)+(?![\w/])|[:=] *["']?\d+\.\d+["']?\s*$""")


def roles(root: Path) -> list[Path]:
    """Folders of the roles."""
    return sorted(path for path in (root / "roles").iterdir() if path.is_dir())


def specification(role: Path) -> dict[str, Any]:
    """Entry points of a role's argument specification; none where there is no specification."""
    path = role / "meta" / "argument_specs.yml"
    return documents.load(path).data["argument_specs"] if path.is_file() else {}


def variables(path: Path) -> dict[str, Any]:
    """A file of variables; none where there is no file, or nothing in it."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return documents.load(path).data if re.search(r"^\w", text, flags=re.MULTILINE) else {}


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line, without comments."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        yield number, re.sub(r"(^|\s)#\s.*", "", line)


def matching(root: Path, patterns: list[str], wrong: re.Pattern[str], what: str) -> list[str]:
    """Findings for each line, in the files of all roles, that has something wrong in it."""
    return [
        f"{path.relative_to(root)}:{number}: {what}: {found[0].strip()}"
        for role in roles(root)
        for pattern in patterns
        for path in sorted(role.glob(pattern))
        for number, line in lines(path)
        if (found := wrong.search(line))
    ]


def has_a_specification(root: Path) -> list[str]:
    return [
        f"{role.name}: no entry point main"
        for role in roles(root)
        if "main" not in specification(role)
    ]


def has_a_current_readme(root: Path) -> list[str]:
    findings = []
    for role in roles(root):
        try:
            if role_readme.render(role) != (role / "README.md").read_text(encoding="utf-8"):
                findings.append(f"{role.name}: README.md is out of date")
        except InputError as error:
            findings.append(f"{role.name}: {error.what}")
    return findings


def readme_says_something(root: Path) -> list[str]:
    return [
        f"{role.name}: fewer than ten words before the table"
        for role in roles(root)
        if len(
            (role / "README.md").read_text(encoding="utf-8").partition(role_readme.BEGIN)[0].split()
        )
        < 10
    ]


def has_its_scenario(root: Path) -> list[str]:
    names = {role.name for role in roles(root)}
    scenarios = {path.parent.name for path in (root / "molecule").glob("*/molecule.yml")}
    missing = [f"{name}: no molecule/{name}/molecule.yml" for name in sorted(names - scenarios)]
    extra = sorted(scenarios - names - WITHOUT_ROLE)
    return missing + [f"molecule/{name}: no role of this name" for name in extra]


def scenarios_are_empty(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}: configures what .config/molecule/config.yml should"
        for path in sorted((root / "molecule").glob("*/molecule.yml"))
        if path.read_text(encoding="utf-8").strip() != "---"
    ]


def has_a_host_test(root: Path) -> list[str]:
    findings = []
    for role in roles(root):
        path = root / "tests" / "host" / f"test_{role.name}.py"
        tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
        tests = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        if not any(test.name.startswith("test_") and _asserts(test) for test in tests):
            findings.append(
                f"{role.name}: no test with an assertion in tests/host/test_{role.name}.py"
            )
    return findings


def _asserts(test: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(test))


def defaults_are_specified(root: Path) -> list[str]:
    findings = []
    for role in roles(root):
        entries = reversed(specification(role).values())  # main, the first, has the last word
        options = {k: v for entry in entries for k, v in entry.get("options", {}).items()}
        for name, value in variables(role / "defaults" / "main.yml").items():
            if name not in options:
                findings.append(f"{role.name}: {name} has a default and no specification")
            elif "{{" not in str(value) and specified_default(options[name], value) != value:
                findings.append(f"{role.name}: {name} has another default in the specification")
    return findings


def specified_default(option: dict[str, Any], value: Any) -> Any:
    """The default in a specification; one that is a table may stand in defaults/main.yml only."""
    is_table = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    return option.get("default", value if is_table else None)


def optional_options_have_defaults(root: Path) -> list[str]:
    return [
        f"{role.name}: {name} is neither required nor has a default"
        for role in roles(root)
        for name, option in specification(role).get("main", {}).get("options", {}).items()
        if not option.get("required") and name not in variables(role / "defaults" / "main.yml")
        if not is_record_of_another(name, role)
    ]


def is_record_of_another(name: str, role: Path) -> bool:
    """A stack's record has its component's name, whichever role takes it; a stack may lack it."""
    return name.endswith("_release") and not name.startswith(f"{role.name}_")


def variables_carry_the_roles_name(root: Path) -> list[str]:
    findings = []
    for role in roles(root):
        options = [
            name for entry in specification(role).values() for name in entry.get("options", {})
        ]
        findings += [
            f"{role.name}: {name} does not begin with {role.name}_"
            for name in [*options, *variables(role / "defaults" / "main.yml")]
            # A record carries its component's name, and a role may install several.
            if not name.startswith(f"{role.name}_") and not name.endswith("_release")
        ]
        findings += [
            f"{path.relative_to(root)}: {name} does not begin with __{role.name}_"
            for path in sorted(role.glob("vars/*.yml"))
            for name in variables(path)
            if not name.startswith(f"__{role.name}_")
        ]
    return findings


def entry_points_are_task_files(root: Path) -> list[str]:
    return [
        f"{role.name}: the entry point {name} has no tasks/{name}.yml"
        for role in roles(root)
        for name in specification(role)
        if not (role / "tasks" / f"{name}.yml").is_file()
    ]


def tasks_from_names_an_entry_point(root: Path) -> list[str]:
    """With an extension, or another name, Ansible finds no specification and validates nothing."""
    known = {name for role in roles(root) for name in specification(role)}
    findings = []
    for role in roles(root):
        for path in sorted(role.glob("tasks/*.yml")):
            for number, line in lines(path):
                used = re.search(r"tasks_from:\s*[\"']?([^\s\"']+)", line)
                if used and used[1] not in known:
                    findings.append(f"{path.relative_to(root)}:{number}: tasks_from: {used[1]}")
    return findings


def set_vars_is_the_same(root: Path) -> list[str]:
    texts = {}
    for role in roles(root):
        path = role / "tasks" / "set_vars.yml"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        texts[role.name] = text.replace(f"__{role.name}_", "__role_")
    usual = max(texts.values(), key=list(texts.values()).count, default="")
    return [f"{name}: tasks/set_vars.yml differs" for name, text in texts.items() if text != usual]


def tasks_name_no_distribution(root: Path) -> list[str]:
    findings = matching(
        root,
        ["tasks/*.yml", "handlers/*.yml", "templates/*"],
        DISTRIBUTION,
        "a distribution's name",
    )
    return [finding for finding in findings if "/tasks/set_vars.yml:" not in finding]


def no_address_outside_the_stacks(root: Path) -> list[str]:
    return matching(root, ["[dthv]*/*.yml", "templates/*"], URL, "an address belongs to a stack")


def no_version_outside_the_stacks(root: Path) -> list[str]:
    return matching(root, ["[dthv]*/*.yml", "templates/*"], VERSION, "a version belongs to a stack")


def task_files_are_short(root: Path) -> list[str]:
    findings = []
    for role in roles(root):
        for path in sorted(role.glob("tasks/*.yml")):
            limit = LONGEST_MAIN if path.name == "main.yml" else LONGEST_TASK_FILE
            count = len(path.read_text(encoding="utf-8").splitlines())
            if count > limit:
                findings.append(f"{path.relative_to(root)}: {count} lines, at most {limit}")
    return findings


def says_its_targets(root: Path) -> list[str]:
    findings = []
    for role in roles(root):
        targets = variables(role / "vars" / "main.yml").get(f"__{role.name}_targets")
        if not isinstance(targets, list) or not targets or not TARGETS.issuperset(targets):
            findings.append(f"{role.name}: __{role.name}_targets is {targets}")
    return findings


def uses_only_builtin_modules(root: Path) -> list[str]:
    other = re.compile(r"^\s*-?\s*(community|ansible)\.(?!builtin\.)[a-z_]+\.[a-z_]+:")
    return matching(root, ["tasks/*.yml", "handlers/*.yml"], other, "not ansible.builtin")


def leaves_become_and_errors_alone(root: Path) -> list[str]:
    wrong = re.compile(r"^\s*-?\s*(become|ignore_errors|no_log):")
    return matching(root, ["tasks/*.yml", "handlers/*.yml"], wrong, "not in a role")


def has_no_empty_file(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}: empty"
        for role in roles(root)
        for path in sorted(role.rglob("*.yml"))
        if path.is_file() and path.read_text(encoding="utf-8").strip() in {"", "---"}
    ]


RULES: list[Callable[[Path], list[str]]] = [
    has_a_specification,
    has_a_current_readme,
    readme_says_something,
    has_its_scenario,
    scenarios_are_empty,
    has_a_host_test,
    defaults_are_specified,
    optional_options_have_defaults,
    variables_carry_the_roles_name,
    entry_points_are_task_files,
    tasks_from_names_an_entry_point,
    set_vars_is_the_same,
    tasks_name_no_distribution,
    no_address_outside_the_stacks,
    no_version_outside_the_stacks,
    task_files_are_short,
    says_its_targets,
    uses_only_builtin_modules,
    leaves_become_and_errors_alone,
    has_no_empty_file,
]
