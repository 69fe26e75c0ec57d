"""A changed version in one of our stacks: the rule that it breaks says so, why, and what helps."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping

import pytest
from packaging.specifiers import SpecifierSet
from stack_tree import StackTree

from bakehouse.stacks import constraints
from bakehouse.stacks.constraints import CONTEXTS, Finding, Rule, Wanted
from bakehouse.stacks.records import PythonRecord, Record
from bakehouse.stacks.stack import Stack, load_stack, stack_names

RULES = constraints.load_rules()
STACKS = {name: load_stack(name) for name in stack_names()}
STRANGE = {"os": "solaris11", "gpu_generation": "volta", "architecture": "sparc"}
BREAKERS = ("0.0.1", "999.0")


def changed(stack: Stack, changes: Mapping[str, str]) -> Stack:
    """The stack with other versions of records and requirements."""
    records: dict[str, Record] = dict(stack.records)
    for name, version in changes.items():
        component, _, requirement = name.partition("/")
        record = records[component]
        update: dict[str, object] = {"version": version}
        if requirement:
            assert isinstance(record, PythonRecord)
            update = {
                "requirements": [
                    r.model_copy(update={"version": version}) if r.name == requirement else r
                    for r in record.requirements
                ]
            }
        records[component] = record.model_copy(update=update)
    return dataclasses.replace(stack, records=records)


def fitting(name: str, wanted: Wanted) -> str:
    """A value that a term of a rule asks for."""
    if isinstance(wanted, list):
        return wanted[0]
    bounds = [bound.version.removesuffix(".*") for bound in SpecifierSet(wanted)]
    return next(v for v in bounds if name in STRANGE or v in SpecifierSet(wanted))


def findings(stack: Stack, rule: Rule) -> Iterator[tuple[str, str, Finding]]:
    """Where all of `when` holds: what the rule says of each strange version of each subject."""
    when = {name: fitting(name, wanted) for name, wanted in rule.when.items()}
    for name in rule.require:
        for value in [STRANGE[name]] if name in STRANGE else BREAKERS:
            facts = {**when, name: value}
            for other, wanted in rule.require.items():
                if other in CONTEXTS and other not in facts:
                    facts[other] = fitting(other, wanted)
            context = {n: v for n, v in facts.items() if n in CONTEXTS}
            versions = {n: v for n, v in facts.items() if n not in CONTEXTS}
            found = constraints.check(changed(stack, versions), context, [rule])
            yield name, value, found[0]


def subjects(rule: Rule) -> set[str]:
    """Components and requirements that a rule needs to be there."""
    return {name for name in {*rule.when, *rule.require} if name not in CONTEXTS}


def applicable() -> Iterator[tuple[str, Rule]]:
    for name, stack in STACKS.items():
        pins = {f"{component}/{pin}" for component, _, pin, _ in stack.python_pins()}
        for rule in RULES:
            if subjects(rule) <= {*stack.versions, *pins}:
                yield name, rule


# A rule goes on this list with the reason why neither of our stacks can break it.
FOR_OTHER_STACKS: dict[str, str] = {}


def test_each_rule_is_one_for_our_stacks() -> None:
    assert {rule.id for rule in RULES} - {rule.id for _, rule in applicable()} == set(
        FOR_OTHER_STACKS
    )


@pytest.mark.parametrize(
    ("name", "rule"),
    list(applicable()),
    ids=lambda value: value if isinstance(value, str) else value.id,
)
def test_a_changed_version_is_reported_with_rule_reason_source_and_what_would_satisfy(
    name: str, rule: Rule
) -> None:
    found = list(findings(STACKS[name], rule))
    broken = [(subject, value, f) for subject, value, f in found if f.status == "broken"]
    assert {subject for subject, _, _ in broken} == set(rule.require), "each subject is judged"
    for subject, value, finding in broken:
        told = finding.as_json()
        assert (told["rule"], told["reason"], told["source"]) == (rule.id, rule.reason, rule.source)
        assert f"{subject} is {value}, must be " in told["message"]
        must_be = told["message"].split(f"{subject} is {value}, must be ")[1]
        must_be = must_be.split(" (since ")[0].split("; ")[0]
        assert f"{subject} {must_be}" in told["satisfying"]
        if subject not in STRANGE:
            assert value not in SpecifierSet(must_be)


@pytest.mark.parametrize(
    "context",
    [
        {"os": os, "kernel": "6.17.0-1015-aws", "gpu_generation": generation, "architecture": cpu}
        for os in ("ubuntu22.04", "ubuntu24.04", "amazon2023")
        for generation in ("ampere", "hopper", "blackwell")
        for cpu in ("x86_64", "aarch64")
    ],
    ids=lambda context: "-".join(context.values()),
)
def test_the_accelerator_stack_breaks_nothing_on_the_machines_it_is_for(
    context: dict[str, str],
) -> None:
    found = constraints.check(STACKS["gpu-cuda13"], context, RULES)
    assert constraints.broken(found) == []


PLACES = ("rule", "reason", "source", "satisfying")


@pytest.mark.parametrize(
    ("stack", "component", "version", "rule"),
    [
        ("cpu", "docker_release", "20.10.9", "docker-runs-new-glibc"),
        ("cpu", "python_release", "3.9", "torch-2.9-needs-python-3.10"),
        ("gpu-cuda13", "nvidia_nccl_release", "2.27.2", "cuda-13-needs-nccl-2.27"),
        ("gpu-cuda13", "nvidia_fabric_manager_release", "1.0", "fabric-manager-equals-driver"),
        ("gpu-cuda13", "nvidia_dcgm_release", "4.2.9", "driver-580-needs-dcgm-4.3"),
    ],
)
def test_the_command_line_tells_the_same_to_people_and_to_programs(
    tree: StackTree, stack: str, component: str, version: str, rule: str
) -> None:
    path = tree.root / "stacks" / f"{stack}.yml"
    before, after = path.read_text().split(f"\n{component}:\n")
    old = f'version: "{STACKS[stack].versions[component]}"'
    assert old in after
    path.write_text(f"{before}\n{component}:\n" + after.replace(old, f'version: "{version}"', 1))
    done = tree.run("stack", "check", stack, "--json")
    assert done.returncode == 2
    judged = json.loads(done.stdout)[0]["rules"]
    found = {entry["rule"]: entry for entry in judged if entry["status"] == "broken"}
    assert rule in found
    shown = tree.run("stack", "check", stack)
    assert shown.returncode == 2
    told = " ".join((shown.stdout + shown.stderr).split())
    for broken in found.values():
        for place in PLACES:
            assert broken[place] in told
        assert broken["satisfying"] in shown.stderr.split("remedy: ")[1]
    assert f": {len(found)} rule(s) broken" in shown.stderr
    changed = path.read_text().splitlines()
    for line, judged_rule in re.findall(rf"{path.name}:(\d+): ([a-z0-9.-]+): ", shown.stderr):
        assert "version: " in changed[int(line) - 1]
        assert found.pop(judged_rule)["reason"] in shown.stderr
    assert found == {}, "each broken rule has its line"


def test_whoever_builds_is_stopped_too(tree: StackTree) -> None:
    tree.cpu.write_text(
        tree.cpu.read_text().replace(STACKS["cpu"].versions["docker_release"], "20.10.9")
    )
    done = tree.run("build", "cpu", "--plan")
    assert done.returncode == 2
    assert "docker-runs-new-glibc: docker_release is 20.10.9, must be >=20.10.10" in done.stderr
    assert "seccomp" in done.stderr
    assert "--allow-broken-stack" in done.stderr
