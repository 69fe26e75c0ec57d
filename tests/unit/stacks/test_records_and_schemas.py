"""No record can be written that allows an unverified download: neither model nor schema has it."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from known_keys import FINGERPRINT as OF_KEY
from known_keys import KEY, OTHER_FINGERPRINT, OTHER_KEY
from pydantic import ValidationError
from ruamel.yaml import YAML

from bakehouse.layout import ROOT
from bakehouse.stacks import schema
from bakehouse.stacks.records import KIND_NAMES, model_of
from bakehouse.stacks.stack import load_stack, stack_names

DIGEST = "0" * 64
FINGERPRINT = "A" * 40
URL = "https://vendor.example/x-1.tar.gz"
REPOSITORY = {"repository": "https://vendor.example/apt", "key_url": "https://vendor.example/key"}
WHEEL = {"name": "x", "version": "1", "sha256": [DIGEST]}
AWAITED = {"name": "y", "version": "1"}
SIGNATURE = {"suffix": ".sig", "key": KEY, "fingerprint": OF_KEY}
REASON = {"reason": "no digest is known", "link": URL, "review_by": "2999-01-01"}

VERIFIED: list[dict[str, Any]] = [
    {"url": URL, "sha256": DIGEST},
    {"by_architecture": {"x86_64": {"url": URL, "sha256": DIGEST}}},
    {"url": URL, "sha256": DIGEST, "signature": SIGNATURE},
    {"by_architecture": {"x86_64": {"url": URL, "sha256": DIGEST}}, "signature": SIGNATURE},
    {**REPOSITORY, "key_sha256": DIGEST, "package": "x"},
    {**REPOSITORY, "key_fingerprint": FINGERPRINT},
    {"by_platform": {"ubuntu24.04-x86_64": {**REPOSITORY, "key_sha256": DIGEST}}},
    {"version": "0" * 40, "url": URL, "git_tree": "a" * 40},
    {"package": "x"},
    {"by_family": {"debian": "x", "redhat": "y"}},
    {"requirements": [WHEEL]},
    {"requirements": [WHEEL, AWAITED], "unlocked": REASON},
    {"bundled_in": "y_release"},
]
UNVERIFIED: list[dict[str, Any]] = [
    {},
    {"url": URL},
    {"url": URL, "sha256": ""},
    {"url": URL, "sha256": DIGEST[1:]},
    {"url": URL, "sha256": DIGEST.replace("0", "G")},
    {"url": URL, "sha256": None},
    {"url": URL, "md5": "0" * 32},
    {"url": URL, "sha256": DIGEST, "verify": False},
    {"url": "git+ssh://vendor.example/x", "sha256": DIGEST},
    {"git": "https://vendor.example/x.git", "branch": "main"},
    {"version": "0" * 40, "url": URL, "git_tree": DIGEST},
    {"version": "main", "url": URL, "git_tree": "a" * 40},
    {"version": "0" * 40, "git_tree": "a" * 40},
    {"by_architecture": {}},
    {"by_architecture": {"x86_64": {"url": URL}}},
    {"by_architecture": {"x86_64": {"url": URL, "sha256": DIGEST}, "aarch64": {"url": URL}}},
    {"by_architecture": {"sparc": {"url": URL, "sha256": DIGEST}}},
    {"url": URL, "signature": SIGNATURE},
    {"by_architecture": {"x86_64": {"url": URL}}, "signature": SIGNATURE},
    {"url": URL, "sha256": DIGEST, "signature": {**SIGNATURE, "fingerprint": OF_KEY[8:]}},
    {"url": URL, "sha256": DIGEST, "signature": {**SIGNATURE, "key": "https://vendor.example/key"}},
    {"url": URL, "sha256": DIGEST, "signature": {**SIGNATURE, "suffix": "/../sig"}},
    {"url": URL, "sha256": DIGEST, "signature": {"suffix": ".sig", "key": KEY}},
    REPOSITORY,
    {"repository": REPOSITORY["repository"], "key_sha256": DIGEST},
    {**REPOSITORY, "key_sha256": "0"},
    {**REPOSITORY, "key_fingerprint": FINGERPRINT[8:]},
    {**REPOSITORY, "key_sha256": DIGEST, "trusted": True},
    {"by_platform": {"ubuntu24.04-x86_64": REPOSITORY}},
    {"requirements": []},
    {"requirements": ["x==1"]},
    {"requirements": [{"name": "x", "version": "1"}]},
    {"requirements": [{"name": "x", "version": "1", "sha256": []}]},
    {"requirements": [{"name": "x", "version": "1", "sha256": []}], "unlocked": REASON},
    {"requirements": [AWAITED], "unlocked": True},
    {"requirements": [AWAITED], "unlocked": {"reason": "none", "link": URL}},
    {"bundled_in": URL},
]


def problem(record: dict[str, Any]) -> str:
    """Why our reader refuses a record; empty if it takes it."""
    model = model_of(record)
    if model is None:
        return "nothing verifies it"
    try:
        model.model_validate({"version": "1", **record})
    except ValidationError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def published() -> Draft202012Validator:
    content = json.loads((schema.SCHEMAS / "stack.json").read_text())
    return Draft202012Validator(content)


@pytest.mark.parametrize("record", VERIFIED, ids=json.dumps)
def test_what_is_verified_is_taken(record: dict[str, Any], published: Draft202012Validator) -> None:
    assert problem(record) == ""
    assert published.is_valid({"x_release": {"version": "1", **record}})


@pytest.mark.parametrize("record", UNVERIFIED, ids=json.dumps)
def test_what_is_not_verified_cannot_be_said(
    record: dict[str, Any], published: Draft202012Validator
) -> None:
    assert problem(record)
    assert not published.is_valid({"x_release": {"version": "1", **record}})


@pytest.mark.parametrize(
    "signature",
    [{"fingerprint": OTHER_FINGERPRINT}, {"key": OTHER_KEY}, {"key": KEY + OTHER_KEY}],
    ids=["another fingerprint", "another key", "a second key"],
)
def test_a_key_that_is_not_the_one_of_the_fingerprint_is_refused(signature: dict[str, str]) -> None:
    told = problem({"url": URL, "sha256": DIGEST, "signature": {**SIGNATURE, **signature}})
    assert "`fingerprint` is not that of `key`, which holds" in told


def test_every_kind_of_record_was_tried() -> None:
    assert {model_of(record) for record in VERIFIED} == set(KIND_NAMES)


FILES = {
    "stack.json": [ROOT / "stacks" / f"{name}.yml" for name in stack_names()],
    "constraints.json": [ROOT / "stacks" / "constraints.yml"],
    "instances.json": [ROOT / "stacks" / "instances.yml"],
    "environment.json": [ROOT / "stacks" / "environment.yml"],
    "images.json": [ROOT / "images.yml"],
    "case.json": sorted((ROOT / "containers").glob("*/case.yml")),
}


@pytest.mark.parametrize("name", schema.MODELS)
def test_each_schema_is_valid_and_our_files_fit_it(name: str) -> None:
    content = json.loads((schema.SCHEMAS / name).read_text())
    Draft202012Validator.check_schema(content)
    assert FILES[name]
    for path in FILES[name]:
        reader = YAML(typ="safe")
        reader.constructor.yaml_constructors.pop("tag:yaml.org,2002:timestamp", None)
        text = json.dumps(reader.load(path.read_text()), default=str)
        assert list(Draft202012Validator(content).iter_errors(json.loads(text))) == []


def test_the_published_schemas_are_current() -> None:
    assert schema.outdated() == []


def test_an_old_schema_is_noticed_and_written_anew(tmp_path: Path) -> None:
    schema.write(tmp_path)
    (tmp_path / "stack.json").write_text("{}")
    assert schema.outdated(tmp_path) == [tmp_path / "stack.json"]
    schema.write(tmp_path)
    assert schema.outdated(tmp_path) == []


ACCELERATOR = {
    "nvidia_driver", "nvidia_fabric_manager", "nvidia_cuda", "nvidia_cudnn", "nvidia_nccl",
    "nccl_tests", "aws_efa_installer", "libfabric", "open_mpi", "aws_ofi_nccl", "rdma_core",
    "efa_driver", "nvidia_gdrcopy", "nvidia_container_toolkit", "nvidia_dcgm", "enroot", "pyxis",
    "aws_lustre", "docker", "python", "pytorch",
}  # fmt: skip


def test_the_accelerator_stack_is_complete() -> None:
    assert {f"{name}_release" for name in ACCELERATOR} <= set(load_stack("gpu-cuda13").records)
