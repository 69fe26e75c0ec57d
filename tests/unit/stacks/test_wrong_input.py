"""Wrong files give one error with file, line, key, reason and remedy, and exit status 2."""

import re
from pathlib import Path

import pytest
from stack_tree import StackTree

BOMB = "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc_release: [*b, *b, *b, *b]\n"
DEEP = "a_release: " + "[" * 5000 + "]" * 5000 + "\n"
LARGE = "a_release: {version: '" + "1" * 1_100_000 + "'}\n"

# What becomes of stacks/cpu.yml; what the error must say; whether it names a line.
WRONG: dict[str, tuple[str | bytes, str, bool]] = {
    "unknown record": ("dokcer_release: {version: '1', package: x}\n", "dokcer_release", True),
    "unknown key": ("docker_release:\n  version: '1'\n  pakcage: x\n", "pakcage", True),
    "wrong type": ("docker_release:\n  version: 20.10\n  package: x\n", "release.version", True),
    "record that is no mapping": ("docker_release: '1'\n", "docker_release", True),
    "missing version": ("docker_release: {package: docker.io}\n", "version", True),
    "nothing that verifies": ("docker_release: {version: '1'}\n", "docker_release", True),
    "duplicated record": (
        "docker_release: {version: '1', package: x}\ndocker_release: {version: '2', package: x}\n",
        "written twice",
        True,
    ),
    "duplicated key": ("docker_release: {package: x, package: y}", "written twice", True),
    "not YAML": ("docker_release: {version: '1'\n", "not YAML", True),
    "not UTF-8": (b"docker_release: \xff\xfe\n", "not YAML: not UTF-8", True),
    "empty": ("", "the file is empty", True),
    "only a comment": ("# nothing\n", "the file is empty", True),
    "a list": ("- docker_release\n", "does not hold a mapping", True),
    "a bomb of aliases": (BOMB, "aliases", True),
    "very deep": (DEEP, "levels", True),
    "very large": (LARGE, "bytes allowed", False),
    "a tag": ("docker_release: !!python/object:os.system {}\n", "tag", True),
    "two documents": ("a_release: {}\n---\nb_release: {}\n", "document", True),
    "a value with two readings": ("docker_release: {version: no, package: x}\n", "no", True),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_stack_is_told_in_one_error(tree: StackTree, case: str) -> None:
    content, said, has_line = WRONG[case]
    tree.cpu.write_bytes(content.encode() if isinstance(content, str) else content)
    done = tree.run("stack", "check", "cpu")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
    assert said.lower() in done.stderr.lower()
    assert "remedy:" in done.stderr
    line = r":[1-9][0-9]*" if has_line else ""
    where = re.escape(str(tree.cpu)) + line
    assert re.search(where, done.stderr), done.stderr


def test_the_line_is_the_one_that_is_wrong(tree: StackTree) -> None:
    tree.cpu.write_text(
        "---\n# a comment\ndocker_release:\n  package: docker.io\n\n  version: '1'\n  nonsense: 1\n"
    )
    done = tree.run("stack", "check", "cpu")
    assert f"{tree.cpu}:7: docker_release.nonsense" in done.stderr


def test_a_stack_that_does_not_exist_says_which_was_meant(tree: StackTree) -> None:
    done = tree.run("stack", "show", "cpuu")
    assert done.returncode == 2
    assert "there is no stack cpuu" in done.stderr
    assert "did you mean cpu?" in done.stderr


def test_a_version_that_breaks_a_rule_is_told_with_reason_source_and_mend(tree: StackTree) -> None:
    path = tree.root / "stacks" / "gpu-cuda13.yml"
    text = path.read_text()
    assert text.count('version: "595.91.07"') == 2
    path.write_text(text.replace('version: "595.91.07"', 'version: "570.86.10"', 1))
    done = tree.run("stack", "check", "gpu-cuda13")
    assert done.returncode == 2
    assert "fabric-manager-equals-driver: nvidia_fabric_manager_release is 595.91.07" in done.stderr
    assert "must be ==570.86.10" in done.stderr
    line = path.read_text().splitlines().index("nvidia_driver_release:") + 2
    assert f"{path}:{line}: nvidia_driver_release.version: " in done.stderr
    assert "remedy: set nvidia_" in done.stderr
    assert "source: https://docs.nvidia.com/" in done.stdout
    built = tree.run("build", "cpu", "--stack", "gpu-cuda13", "--plan")
    assert built.returncode == 2
    assert f"{path}:{line}: nvidia_driver_release.version: the stack breaks" in built.stderr


RULE = "rules: [{{id: a, title: t, require: {require}, reason: r, source: {source}}}]\n"
BOX = "images: {{box: {{kind: {kind}, parent: x, playbook: x, stack: x, budget: {budget}}}}}\n"
OTHERS = {
    "images.yml": [
        ("images: {box: {kind: boat}}\n", "kind"),
        ("images: {box: {kind: container, parent: gone, playbook: cpu, stack: cpu}}", "gone"),
        ("images: {box: {kind: container, parent: box, playbook: cpu, stack: cpu}}\n", "box"),
        ("images: {Box: {kind: rootfs, distribution: debian, suite: x}}\n", "Box"),
        (BOX.format(kind="container", budget="{minutes: 1, gb: 1}"), "has no budget"),
        (BOX.format(kind="machine", budget="{minutes: 1, gb: 0}"), "budget.gb"),
        (BOX.format(kind="machine", budget="{gb: 1}"), "budget.minutes"),
        ("images: {box: {kind: container, playbook: cpu, stack: cpu}}\n", "parent"),
        ("", "empty"),
    ],
    "stacks/constraints.yml": [
        (RULE.format(require="{cpu_release: '=>1'}", source="'https://x'"), "=>1"),
        (RULE.format(require="{cpu: '>1'}", source="'https://x'"), "cpu"),
        (RULE.format(require="{cpu_release: '>1'}", source="~"), "source"),
        (RULE.format(require="{cpu_release: '>1'}", source="'http://x'"), "source"),
        ("", "empty"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "said"), [(n, c, s) for n, cases in OTHERS.items() for c, s in cases]
)
def test_other_files_are_read_as_strictly(
    tree: StackTree, name: str, content: str, said: str
) -> None:
    (tree.root / name).write_text(content)
    command = ["build", "cpu", "--plan"] if name == "images.yml" else ["stack", "check", "cpu"]
    done = tree.run(*command)
    assert done.returncode == 2, done.stderr
    assert str(Path(tree.root, name)) in done.stderr
    assert said in done.stderr
    assert "remedy:" in done.stderr
    assert "Traceback" not in done.stderr
