"""packer/source_amis.yml: what is looked up by a name is looked up by one entry."""

import re
from functools import cache
from itertools import combinations
from string import Template
from typing import Any

import pytest

from bakehouse import layout
from bakehouse.images import load_images
from bakehouse.stacks import documents

DATA = documents.load(layout.PACKER / "source_amis.yml").data
ENTRIES: dict[str, dict[str, Any]] = {
    f"{platform}/{distribution}/{architecture}": entry
    for platform, distributions in DATA["source_amis"].items()
    for distribution, architectures in distributions.items()
    for architecture, entry in architectures.items()
}
NAMES = {
    place: Template(entry["name"]).substitute(DATA["versions"])
    for place, entry in ENTRIES.items()
    if "name" in entry
}


@cache
def meet(one: str, other: str) -> bool:
    """Whether a name may fit both filters, in which `*` is anything and `?` one character."""
    if not (one and other):
        return not (one + other).strip("*")
    if one[0] == "*":
        return meet(one[1:], other) or meet(one, other[1:])
    if other[0] == "*":
        return meet(other, one)
    return (one[0] == other[0] or "?" in one[0] + other[0]) and meet(one[1:], other[1:])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a-*", "a-b", True),
        ("a-*-c", "a-b*", True),
        ("*b", "a*", True),
        ("a-??", "a-*b", True),
        ("", "**", True),
        ("a-?", "a-*bc", False),
        ("a-*", "b-*", False),
        ("a", "", False),
    ],
)
def test_filters_that_meet_are_told_from_those_that_do_not(
    one: str, other: str, expected: bool
) -> None:
    assert meet(one, other) is meet(other, one) is expected


def test_no_name_fits_two_entries() -> None:
    pairs = combinations(NAMES.items(), 2)
    assert [(a, b) for (a, one), (b, other) in pairs if meet(one, other)] == []


@pytest.mark.parametrize("place", ENTRIES)
def test_an_entry_is_found_by_name_or_by_parameter_of_its_own_architecture(place: str) -> None:
    entry, architecture = ENTRIES[place], place.rpartition("/")[2]
    known = {"owner", "name", "parameter", "user", "root_device", "source"}
    assert known >= entry.keys() >= {"owner", "user", "root_device", "source"}
    found_by = [entry[key] for key in ("name", "parameter") if key in entry]
    assert found_by
    foreign = {"x86_64": {"arm64", "ARM64", "aarch64"}, "arm64": {"x86_64", "amd64"}}[architecture]
    assert not [text for text in found_by for word in foreign if word in text]
    for text in found_by:
        Template(text).substitute(DATA["versions"])


AMIS = {name: image.ami for name, image in load_images().items() if image.ami}


def test_every_ami_of_ours_has_a_source_for_all_that_it_promises() -> None:
    promised = {
        f"{ami.source}/{distribution}/{architecture}"
        for ami in AMIS.values()
        for distribution in ami.distributions
        for architecture in ami.instance_types
    }
    assert sorted(promised - set(ENTRIES)) == []


def test_every_platform_and_distribution_is_offered() -> None:
    assert {ami.source for ami in AMIS.values()} >= {
        "base", "pcluster", "eks-gpu", "dlami-gpu", "dlami-neuron", "hyperpod",
    }  # fmt: skip
    assert {d for ami in AMIS.values() for d in ami.distributions} == {
        "ubuntu-22.04", "ubuntu-24.04", "amazon-2023",
    }  # fmt: skip


def test_no_two_amis_of_ours_share_a_pattern_of_names() -> None:
    """Names are bakehouse-<image>-<distribution>-<architecture>-<time>."""
    filters = {
        (name, distribution, architecture): f"bakehouse-{name}-{distribution}-{architecture}-*"
        for name, ami in AMIS.items()
        for distribution in ami.distributions
        for architecture in ami.instance_types
    }
    pairs = combinations(filters.items(), 2)
    assert [(a, b) for (a, one), (b, other) in pairs if meet(one, other)] == []


def test_the_documentation_names_every_ami_with_its_distributions() -> None:
    lines = (layout.ROOT / "docs" / "amis.md").read_text(encoding="utf-8").splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| `")]
    told = {name: row[-1].rstrip(" |") for row in rows for name in re.findall(r"`([^`]+)`", row[0])}
    for name, ami in AMIS.items():
        assert told.get(name) == ", ".join(ami.distributions)
