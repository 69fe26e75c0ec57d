"""Every rule can be broken, says why and what would mend it, and our stacks break none."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from bakehouse.errors import InputError
from bakehouse.stacks import constraints, documents
from bakehouse.stacks.constraints import CONTEXTS, Finding, Rule, Wanted
from bakehouse.stacks.records import (
    BundledRecord,
    DistributionRecord,
    PythonRecord,
    Record,
    Requirement,
)
from bakehouse.stacks.stack import Stack, load_stack, stack_names

RULES = constraints.load_rules()
GENERATIONS = ["volta", "ampere", "hopper", "blackwell"]
SYSTEMS = ["ubuntu20.04", "ubuntu22.04", "ubuntu24.04", "debian12", "amazon2", "amazon2023"]


def made_up(facts: dict[str, str]) -> tuple[Stack, dict[str, str]]:
    """A stack and a context with these facts."""
    records: dict[str, Record] = {}
    requirements: dict[str, list[Requirement]] = {}
    for name, version in facts.items():
        component, _, requirement = name.partition("/")
        if requirement:
            found = Requirement(name=requirement, version=version, sha256=["0" * 64])
            requirements.setdefault(component, []).append(found)
        elif name not in CONTEXTS:
            records[name] = DistributionRecord(version=version, package="x")
    for component, others in requirements.items():
        version = facts.get(component, "1")
        first = Requirement(name="itself", version=version, sha256=["0" * 64])
        records[component] = PythonRecord(version=version, requirements=[first, *others])
    document = documents.from_text(Path("made-up.yml"), "x_release: {version: '1'}\n")
    context = {name: value for name, value in facts.items() if name in CONTEXTS}
    return Stack(name="made-up", document=document, records=records), context


def subjects(rule: Rule) -> dict[str, list[Wanted]]:
    """What a rule speaks of, with all that it asks of it."""
    found: dict[str, list[Wanted]] = {}
    for terms in (rule.when, rule.require):
        for name, wanted in terms.items():
            found.setdefault(name, []).append(wanted)
            if isinstance(wanted, str):
                for match in constraints._REFERENCE.finditer(wanted):
                    found.setdefault(match[1], [])
    return found


def candidates(name: str, wanted: list[Wanted]) -> list[str]:
    """Values around every bound that a rule names."""
    if name == "os":
        return SYSTEMS
    if name == "gpu_generation":
        return GENERATIONS
    if name == "architecture":
        return ["x86_64", "aarch64"]
    versions = {"0.0.1", "999.0", "1.2.3"}
    for text in wanted:
        if isinstance(text, str) and "{" not in text:
            for bound in SpecifierSet(text):
                version = bound.version.removesuffix(".*")
                versions |= {version, f"{version}.1", f"{version}.0.1"}
    # Those that everything asks for come first, so that few combinations have to be tried.
    asked = [SpecifierSet(text) for text in wanted if isinstance(text, str) and "{" not in text]
    return sorted(versions, key=lambda version: (not all(version in s for s in asked), version))


def findings(rule: Rule) -> Iterator[Finding]:
    """What a rule says of made-up stacks around its bounds."""
    named = subjects(rule)
    choices = [candidates(name, wanted) for name, wanted in named.items()]
    for values in product(*choices):
        stack, context = made_up(dict(zip(named, values, strict=True)))
        yield constraints.check(stack, context, [rule])[0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_each_rule_can_hold_and_can_be_broken(rule: Rule) -> None:
    found: dict[str, Finding] = {}
    for finding in findings(rule):
        found[finding.status] = finding
        if {"holds", "broken"} <= set(found):
            break
    assert {"holds", "broken"} <= set(found)
    broken = found["broken"]
    assert any(name in broken.message for name in rule.require)
    assert "must be" in broken.message
    assert broken.satisfying.startswith("set ")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_each_rule_is_silent_about_what_is_not_there(rule: Rule) -> None:
    stack, context = made_up({"stranger_release": "1"})
    assert constraints.check(stack, context, [rule])[0].status == "not_applicable"


def test_there_are_enough_rules_and_each_has_its_source() -> None:
    assert len(RULES) >= 15
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.source.startswith("https://") and len(rule.reason) > 20 for rule in RULES)


@pytest.mark.parametrize("name", stack_names())
def test_our_stacks_break_no_rule(name: str) -> None:
    assert constraints.broken(constraints.check(load_stack(name))) == []


def test_the_accelerator_stack_is_judged_by_many_rules() -> None:
    found = constraints.check(load_stack("gpu-cuda13"))
    assert sum(finding.status == "holds" for finding in found) >= 15


@pytest.mark.parametrize(
    ("context", "rule"),
    [
        ({"gpu_generation": "volta"}, "cuda-13-drops-volta"),
        ({"kernel": "4.14.300-200.el7"}, "driver-595-needs-kernel-4.15"),
        ({"os": "amazon2"}, "cuda-13-needs-supported-os"),
    ],
)
def test_a_machine_that_does_not_fit_is_told(context: dict[str, str], rule: str) -> None:
    found = constraints.broken(constraints.check(load_stack("gpu-cuda13"), context))
    assert rule in {finding.rule.id for finding in found}


def test_a_context_that_does_not_exist_is_wrong_input() -> None:
    with pytest.raises(InputError, match="there is no context kernle"):
        constraints.check(load_stack("cpu"), {"kernle": "6.8"})


def test_a_rule_reaches_into_what_a_bundle_brings() -> None:
    stack = load_stack("gpu-cuda13")
    bundled = {name for name, record in stack.records.items() if isinstance(record, BundledRecord)}
    judged = {name for rule in RULES for name in rule.require}
    assert bundled <= judged


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("v2.32.3-1", "2.32.3.post1"), ("1.7.4-aws", "1.7.4"), ("2.6.0amzn1.0", "2.6.0"), ("x", None)],
)
def test_vendors_versions_are_compared_as_numbers(text: str, meaning: str | None) -> None:
    found = constraints.normalised(text)
    assert (None if found is None else str(found)) == meaning
