"""Whatever is taken from a record or mixed into it, what remains is verified, or is refused."""

import copy
import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from known_keys import FINGERPRINT, KEY
from pydantic import ValidationError

from bakehouse.errors import InputError
from bakehouse.layout import ROOT
from bakehouse.stacks import documents, schema, stack
from bakehouse.stacks.records import KIND_NAMES, model_of

DIGEST, OTHER = "a" * 64, "b" * 64
URL = "https://vendor.example/x-1.tar.gz"
ARTIFACT = {"url": URL, "sha256": DIGEST}
SIGNATURE = {"suffix": ".sig", "key": KEY, "fingerprint": FINGERPRINT}
REPOSITORY = {"repository": "https://vendor.example/apt", "key_url": "https://vendor.example/key"}
BY_DIGEST = {**REPOSITORY, "key_sha256": DIGEST}
BY_FINGERPRINT = {**REPOSITORY, "key_fingerprint": "A" * 40}
WHEEL = {"name": "x", "version": "1", "sha256": [DIGEST, OTHER]}

KINDS: dict[str, dict[str, Any]] = {
    "archive": ARTIFACT,
    "archives": {"by_architecture": {"x86_64": ARTIFACT, "aarch64": ARTIFACT}},
    "signed archive": {**ARTIFACT, "signature": SIGNATURE},
    "signed archives": {"by_architecture": {"x86_64": ARTIFACT}, "signature": SIGNATURE},
    "source": {"version": "0" * 40, "url": URL, "git_tree": "a" * 40},
    "repository": {**BY_DIGEST, "suite": "stable", "components": ["main"], "package": "x"},
    "repository by fingerprint": BY_FINGERPRINT,
    "repositories": {
        "by_platform": {"ubuntu24.04-x86_64": BY_DIGEST, "amazon2023-aarch64": BY_FINGERPRINT},
        "package": "x",
    },
    "distribution": {"package": "x"},
    "distributions": {"by_family": {"debian": "x", "redhat": "y"}},
    "python": {"requirements": [WHEEL, {**WHEEL, "name": "y"}], "index": "https://vendor.example"},
    "bundled": {"bundled_in": "y_release"},
}
BUNDLE = {"version": "1", **ARTIFACT}
VERIFIES = {"sha256", "git_tree", "key_sha256", "key_fingerprint", "fingerprint", "key"}
FETCHES = {"url", "repository", "key_url", "requirements", "index"}

Path_ = tuple[str | int, ...]


def accepted(record: Any) -> bool:
    """Whether our reader takes a stack with the record."""
    text = json.dumps({"x_release": record, "y_release": BUNDLE})
    document = documents.from_text(Path("stack.yml"), text)
    try:
        stack.parse(document, known={"x_release", "y_release"})
    except InputError as error:
        return not ("stack.yml:1" in error.where and error.remedy)
    return True


@pytest.fixture(scope="module")
def published() -> Draft202012Validator:
    return Draft202012Validator(json.loads((ROOT / "schemas" / "stack.json").read_text()))


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Every key and list item, at any depth."""
    steps: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        steps = list(value.items())
    elif isinstance(value, list):
        steps = list(enumerate(value))
    for step, below in steps:
        yield (*path, step)
        yield from places(below, (*path, step))


def verified(record: Any) -> bool:
    """By hand: each mapping that fetches something has what verifies it."""
    if isinstance(record, list):
        return all(verified(item) for item in record)
    if not isinstance(record, dict):
        return True
    own = set(record)
    if own & (FETCHES - {"requirements", "index"}) and not own & VERIFIES:
        return False
    if "name" in own and not record.get("sha256"):
        return False
    if own & {"requirements"} and not record["requirements"]:
        return False
    return all(verified(below) for below in record.values())


PLACES = [(kind, path) for kind, record in KINDS.items() for path in places(record)]


def at(record: Any, path: Path_) -> Any:
    for step in path:
        record = record[step]
    return record


def without(record: dict[str, Any], path: Path_) -> dict[str, Any]:
    result = copy.deepcopy(record)
    del at(result, path[:-1])[path[-1]]
    return result


def replaced(record: dict[str, Any], path: Path_, value: object) -> dict[str, Any]:
    result = copy.deepcopy(record)
    at(result, path[:-1])[path[-1]] = value
    return result


def named(value: object) -> str:
    return value if isinstance(value, str) else ".".join(map(str, value))  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_taken_whole(kind: str, published: Draft202012Validator) -> None:
    record = {"version": "1", **KINDS[kind]}
    assert accepted(record)
    assert published.is_valid({"x_release": record})


def test_all_kinds_are_here() -> None:
    assert {model_of(record) for record in KINDS.values()} == set(KIND_NAMES)


@pytest.mark.parametrize(("kind", "path"), PLACES, ids=named)
def test_what_remains_when_one_thing_is_taken_away_is_verified_or_refused(
    kind: str, path: Path_, published: Draft202012Validator
) -> None:
    record = {"version": "1", **without(KINDS[kind], path)}
    taken = accepted(record)
    assert published.is_valid({"x_release": record}) == taken
    assert verified(record) or not taken
    if path[-1] in VERIFIES:
        assert not taken


@pytest.mark.parametrize(("kind", "path"), PLACES, ids=named)
def test_nothing_may_stand_without_a_value(
    kind: str, path: Path_, published: Draft202012Validator
) -> None:
    record = {"version": "1", **replaced(KINDS[kind], path, None)}
    assert not accepted(record)
    assert not published.is_valid({"x_release": record})


SPOILT: list[object] = [None, "", " ", 7, True, [], {}, "main", DIGEST[1:], "A" * 64, "git+ssh://x"]
VERIFYING = [(kind, path) for kind, path in PLACES if path[-1] in VERIFIES]
DIGESTS = VERIFYING + [(k, (*p, 0)) for k, p in VERIFYING if k == "python"]


@pytest.mark.parametrize("value", SPOILT, ids=json.dumps)
@pytest.mark.parametrize(("kind", "path"), DIGESTS, ids=named)
def test_what_verifies_is_a_digest_or_a_fingerprint_and_nothing_else(
    kind: str, path: Path_, value: object, published: Draft202012Validator
) -> None:
    record = {"version": "1", **replaced(KINDS[kind], path, value)}
    assert not accepted(record)
    assert not published.is_valid({"x_release": record})


ADDRESSES = ["url", "repository", "key_url", "index"]
REFUSED = ["ftp://vendor.example/x", "git+https://vendor.example/x", "//x", "x", "https://a b", ""]


@pytest.mark.parametrize("address", REFUSED)
@pytest.mark.parametrize(
    ("kind", "path"), [(k, p) for k, p in PLACES if p[-1] in ADDRESSES], ids=named
)
def test_an_address_is_one_of_those_that_we_can_verify_what_comes_from(
    kind: str, path: Path_, address: str, published: Draft202012Validator
) -> None:
    record = {"version": "1", **replaced(KINDS[kind], path, address)}
    assert not accepted(record)
    assert not published.is_valid({"x_release": record})


@pytest.mark.parametrize(("one", "other"), list(combinations(KINDS, 2)))
def test_two_kinds_in_one_record_are_refused(
    one: str, other: str, published: Draft202012Validator
) -> None:
    record = {"version": "1", **KINDS[one], **KINDS[other]}
    taken = accepted(record)
    assert published.is_valid({"x_release": record}) == taken
    if taken:
        model = model_of(record)
        assert model is not None
        assert set(record) <= set(model.model_fields)
        assert verified(record)


def test_it_is_told_which_two_do_not_go_together() -> None:
    text = '---\nx_release:\n  version: "1"\n  package: x\n  url: https://vendor.example/x\n'
    document = documents.from_text(Path("stack.yml"), text + f"  sha256: {DIGEST}\n")
    with pytest.raises(InputError, match="`package` does not go together with `url`") as refused:
        stack.parse(document, known={"x_release"})
    assert refused.value.where == "stack.yml:4: x_release.package"
    assert "remove one of the two" in refused.value.remedy


@pytest.mark.parametrize(
    "record",
    [
        {"git": "https://vendor.example/x.git", "branch": "main"},
        {"git": "https://vendor.example/x.git", "commit": "a" * 40},
        {**ARTIFACT, "branch": "main"},
        {**ARTIFACT, "insecure": True},
        {**BY_DIGEST, "trusted": True},
        {**BY_DIGEST, "gpgcheck": False},
        {"package": "x", "allow_unauthenticated": True},
        {"requirements": [{**WHEEL, "url": URL}]},
        {"requirements": [{**WHEEL, "name": "x @ https://vendor.example/x.whl"}]},
        {"requirements": [{**WHEEL, "name": "x", "version": "1 --no-deps"}]},
        {"requirements": ["x==1"]},
        {"requirements": "x==1"},
        {"script": "curl https://vendor.example | sh"},
    ],
    ids=json.dumps,
)
def test_no_key_lets_a_download_go_unverified(
    record: dict[str, Any], published: Draft202012Validator
) -> None:
    assert not accepted({"version": "1", **record})
    assert not published.is_valid({"x_release": {"version": "1", **record}})


@pytest.mark.parametrize("date", [0, 20270131, "soon", "2027-02-30", "2027-01-31T00:00:00", ""])
def test_a_pin_is_reviewed_by_a_date(date: object) -> None:
    pin = {"reason": "so", "link": "https://vendor.example", "review_by": "2027-01-31"}
    assert accepted({"version": "1", "package": "x", "pin": pin})
    assert not accepted({"version": "1", "package": "x", "pin": {**pin, "review_by": date}})


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        ({}, "y_release is not in this stack"),
        ({"y_release": {"version": "1", "bundled_in": "x_release"}}, "is itself bundled"),
    ],
)
def test_a_bundle_is_a_record_that_is_itself_verified(bundle: dict[str, Any], said: str) -> None:
    text = json.dumps({"x_release": {"version": "1", "bundled_in": "y_release"}, **bundle})
    document = documents.from_text(Path("stack.yml"), text)
    with pytest.raises(InputError, match=said):
        stack.parse(document, known={"x_release", "y_release"})


@pytest.mark.parametrize(
    "reference", ["debian:12", "docker.io/debian", "debian@sha256:12", f"debian@sha256:{'A' * 64}"]
)
def test_the_image_at_the_bottom_is_named_by_digest(reference: str) -> None:
    image = {"kind": "rootfs", "distribution": "debian", "suite": "x", "reference": reference}
    content = json.loads((ROOT / "schemas" / "images.json").read_text())
    assert not Draft202012Validator(content).is_valid({"images": {"x": image}})
    with pytest.raises(ValidationError, match="should match pattern"):
        schema.MODELS["images.json"].model_validate({"images": {"x": image}})
    image["reference"] = f"debian@sha256:{DIGEST}"
    assert Draft202012Validator(content).is_valid({"images": {"x": image}})
    assert schema.MODELS["images.json"].model_validate({"images": {"x": image}})


@pytest.mark.parametrize("source", ["http://vendor.example", "vendor.example", "https://", ""])
def test_the_source_of_a_rule_is_an_https_address(source: str) -> None:
    rule = {"id": "a", "title": "t", "require": {"x_release": "1"}, "reason": "r", "source": source}
    content = json.loads((ROOT / "schemas" / "constraints.json").read_text())
    assert not Draft202012Validator(content).is_valid({"rules": [rule]})
