"""What is made to break a reader: bombs, numbers without end, files that are none."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from stack_tree import StackTree

from bakehouse.errors import InputError
from bakehouse.stacks import constraints, plain_yaml
from bakehouse.stacks.instances import load_instances
from bakehouse.stacks.stack import load_stack

ERROR = re.compile(
    r"error: (?P<path>\S+?\.yml)(:(?P<line>\d+))?(: (?P<key>[^ :]+))?: (?P<reason>[^\n]+)\n"
    r"  remedy: (?P<remedy>[^\n]+)\n"
)
READ_BY = {
    "stacks/cpu.yml": ("stack", "check", "cpu"),
    "stacks/constraints.yml": ("stack", "check", "cpu"),
    "images.yml": ("build", "cpu", "--plan"),
}
TOP = {"stacks/cpu.yml": "docker_release", "stacks/constraints.yml": "rules"}

# Text, where TOP stands for the file's own first key; line; key; a word of the reason.
DOCUMENTS: dict[str, tuple[str, int | None, str | None, str]] = {
    "empty": ("", 1, None, "empty"),
    "not YAML": ("TOP: {a: [\n", 2, None, "not YAML"),
    "a tab": ("TOP:\n\ta: 1\n", 2, None, "not YAML"),
    "a list": ("- TOP\n", 1, None, "does not hold a mapping"),
    "a text": ("TOP\n", 1, None, "does not hold a mapping"),
    "duplicated key": ("TOP: {}\n\nTOP: {}\n", 3, "TOP", "written twice, first in line 1"),
    "duplicated key below": ("TOP:\n  a: {}\n  a: {}\n", 3, "TOP.a", "written twice"),
    "no value": ("TOP:\n", 1, None, ""),
    "bomb of aliases": ("a: &a [x, x]\nb: &b [*a, *a]\nTOP: *b\n", 2, "b.0", "aliases"),
    "merge of an alias": ("a: &a {x: 1}\nTOP:\n  <<: *a\n", 3, "TOP", "not the same thing"),
    "alias of itself": ("TOP: &a [*a]\n", 1, "TOP.0", "aliases"),
    "deep lists": ("TOP: " + "[" * 100 + "]" * 100, 1, None, "levels of nesting"),
    "deep mappings": ("TOP: " + "{a: " * 5000 + "}" * 5000, 1, None, "levels of nesting"),
    "deep by dashes": ("- " * 5000 + "\n", 1, None, "levels of nesting"),
    "very large": ("TOP: '" + "x" * (1 << 20) + "'\n", None, None, "bytes allowed"),
    "number without end": (f"TOP: {'1' * 5000}\n", 1, "TOP", "number"),
    "fraction without end": (f"TOP: 0.{'1' * 5000}\n", 1, "TOP", "number"),
    "a tag": ("TOP: !!python/object/apply:os.system [ls]\n", 1, "TOP", "tags"),
    "two documents": ("TOP: {}\n---\nTOP: {}\n", 2, None, "more than one document"),
    "a key that is a list": ("? [TOP]\n: 1\n", 1, None, "a key is a list"),
    "a line that ends for some": ("# a\u2028# b\nTOP: {}\n", 1, None, "U+2028 ends a line"),
    "a record in a comment": ("#\n# a\u0085TOP: {}\n", 2, None, "U+0085 ends a line"),
    "a carriage return": ("TOP: {}\n# a\rb: 1\n", 2, None, "U+000D ends a line"),
    "a control character": ("TOP: \x07\n", 1, None, "not YAML"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("file", READ_BY)
@pytest.mark.parametrize("case", DOCUMENTS)
def test_each_file_is_refused_in_one_error_that_says_where_why_and_what_to_do(
    tree: StackTree, file: str, case: str
) -> None:
    content, line, key, reason = DOCUMENTS[case]
    top = TOP.get(file, "images")
    (tree.root / file).write_text(content.replace("TOP", top), newline="")
    done = tree.run(*READ_BY[file])
    told = ERROR.fullmatch(done.stderr)
    assert told is not None, done.stderr[:500]
    assert (done.returncode, done.stdout) == (2, "")
    assert told["path"] == str(tree.root / file)
    assert told["line"] == (None if line is None else str(line))
    if key is not None:
        assert told["key"] == key.replace("TOP", top)
    assert reason in told["reason"]


@pytest.mark.parametrize("file", READ_BY)
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "there is no s"),
        ("a folder", "cannot be read: Is a directory"),
        ("a link to itself", "cannot be read: Too many levels"),
        ("a link to nothing", "there is no such file"),
    ],
)
def test_what_is_no_file_is_wrong_input(tree: StackTree, file: str, how: str, reason: str) -> None:
    path = tree.root / file
    path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how != "missing":
        path.symlink_to(path if how == "a link to itself" else tree.root / "nothing")
    done = tree.run(*READ_BY[file])
    told = ERROR.fullmatch(done.stderr)
    assert told is not None, done.stderr
    assert done.returncode == 2
    assert told["path"] == str(path)
    assert reason in told["reason"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    ["1" + "_" * 200_000 + "x", "1" * 200_000 + "x", "1:" * 100_000 + "x", "." * 200_000 + "x"],
    ids=["underscores", "digits", "colons", "dots"],
)
def test_a_long_text_that_is_almost_a_number_is_read_at_once(text: str) -> None:
    assert plain_yaml.parse(f"a: {text}\n").data == {"a": text}


# What Ansible reads as a number or a truth and others as a text, or the other way round.
@pytest.mark.parametrize(
    "text",
    [
        "yes", "No", "on", "OFF", "010", "0o17", "0x1F", "0b1", "1_000", "1_0.5", "1._", ".5_5",
        "-.5", "+.5", "1.5_0", "1e3", "1.5e3", "-1_0", "1:30", "12:30:45", "1:30.5", ".inf",
        "-.INF", ".NaN", "=", "<<", "00",
    ],
)  # fmt: skip
def test_a_value_with_two_readings_must_be_written_in_quotes(text: str) -> None:
    with pytest.raises(plain_yaml.PlainYamlError, match="not the same thing") as refused:
        plain_yaml.parse(f"---\na:\n  b: {text}\n")
    assert (refused.value.line, refused.value.key) == (3, "a.b")
    assert f'"{text}"' in refused.value.remedy
    assert plain_yaml.parse(f'a: "{text}"\n').data == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("-12", -12), ("1.5", 1.5), (".5", 0.5), ("1.5e+3", 1500.0), ("true", True),
        ("True", True), ("TRUE", True), ("false", False), ("False", False),
        ("FALSE", False), ("2.6.0amzn1.0", "2.6.0amzn1.0"), ("2026-11-24", "2026-11-24"),
        (".", "."), ("1.2.3", "1.2.3"), ("v1", "v1"), ("yesterday", "yesterday"),
    ],
)  # fmt: skip
def test_a_value_with_one_reading_is_read_as_everybody_does(text: str, value: object) -> None:
    read = plain_yaml.parse(f"a: {text}\n").data["a"]
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize("version", ["9" * 5000, "latest", "\\0"])
def test_a_version_that_is_no_number_breaks_rules_and_nothing_else(
    tree: StackTree, version: str
) -> None:
    path = tree.root / "stacks" / "gpu-cuda13.yml"
    text = path.read_text()
    driver = load_stack("gpu-cuda13").versions["nvidia_driver_release"]
    path.write_text(text.replace(f'"{driver}"', f'"{version}"'))
    done = tree.run("stack", "check", "gpu-cuda13")
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    assert "fabric-manager-equals-driver" in done.stderr


def test_a_rule_with_a_number_without_end_breaks_and_nothing_else(tree: StackTree) -> None:
    rule = "{id: a, title: t, require: {docker_release: '>=%s'}, reason: r, source: 'https://x'}"
    (tree.root / "stacks" / "constraints.yml").write_text(f"rules: [{rule % ('1' * 5000)}]\n")
    assert tree.run("stack", "check", "cpu").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "cpu", "--context", "os"], "--context os: this is not NAME=VALUE"),
        (["check", "cpu", "--context", "os="], "--context os=: this is not NAME=VALUE"),
        (["check", "cpu", "--context", "kernle=6"], "did you mean kernel?"),
        (["check", "gpu-cuda13", "--context", f"kernel={'1' * 5000}"], "kernel"),
        (["lock", "cpu", "--mirror", "https://x/"], "this is not NAME=VALUE"),
        (["lock", "cpu", "dokcer_release"], "did you mean docker_release?"),
        (["lock", "cpuu"], "did you mean cpu?"),
        (["bump", "cpuu", "docker_release", "1"], "did you mean cpu?"),
        (["bump", "cpu", "docker_release", "1", "--sha256", "a", "--sha256", "b"], "given twice"),
        (["show", "../cpu"], "there is no stack ../cpu"),
        (["show", "constraints"], "there is no stack constraints"),
        (["check", ""], "there is no stack"),
    ],
)
def test_a_wrong_argument_is_told_with_a_remedy(
    tree: StackTree, arguments: list[str], said: str
) -> None:
    before = tree.cpu.read_bytes()
    done = tree.run("stack", *arguments)
    assert done.returncode == 2
    assert done.stderr.count("error:") == done.stderr.count("remedy:") == 1
    assert said in done.stderr
    assert tree.cpu.read_bytes() == before


def test_a_process_of_its_own_ends_in_2_too() -> None:
    command = [sys.executable, "-m", "bakehouse", "stack", "show", "cpuu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr


TWICE = "- {id: a, title: t, require: {docker_release: '>1'}, reason: r, source: 'https://x'}\n"


def test_two_rules_of_one_name_are_refused_at_the_second(tmp_path: Path) -> None:
    path = tmp_path / "constraints.yml"
    path.write_text("rules:\n" + TWICE + "# between\n" + TWICE)
    with pytest.raises(InputError, match=f"{path}:4: rules.1.id: two rules are named a"):
        constraints.load_rules(path)


SIZE = "vcpus: 4, memory_gib: 8, network_gbps: 1"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (f"{{gpus: 8, {SIZE}, source: 'https://x'}}", "an instance with GPUs needs"),
        (f"{{gpus: -1, {SIZE}, source: 'https://x'}}", "gpus"),
        ("{gpus: 0, vcpus: 4, memory_gib: 8, network_gbps: fast, source: 'https://x'}", "a number"),
        (f"{{gpus: 0, {SIZE}, source: 'ftp://x'}}", "source"),
        (f"{{gpus: 0, {SIZE}}}", "source is missing"),
        ("{gpus: 0, memory_gib: 8, network_gbps: 1, source: 'https://x'}", "vcpus is missing"),
        (f"{{gpus: 0, neuron_devices: 2, {SIZE}, source: 'https://x'}}", "belong together"),
        ("", "not nothing"),
    ],
)
def test_wrong_instance_types_are_refused_at_their_line(
    tmp_path: Path, entry: str, said: str
) -> None:
    path = tmp_path / "instances.yml"
    path.write_text(f"---\ninstances:\n  c5.large: {entry}\n")
    with pytest.raises(InputError, match=said) as refused:
        load_instances(path)
    assert refused.value.where.startswith(f"{path}:3: instances.c5.large")
    assert refused.value.remedy
