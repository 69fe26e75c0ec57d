"""What `bakehouse stack list`, `show`, `check` and `schema` print and how they end."""

import hashlib
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from known_keys import FINGERPRINT as OF_KEY
from known_keys import KEY
from stack_tree import StackTree

from bakehouse.stacks import schema
from bakehouse.stacks.stack import load_stack, stack_names

PIN = "{{reason: 'waits for [it]', link: 'https://vendor.example/why', review_by: '{}'}}"
PUBLISHED = schema.SCHEMAS
DOCKER = "docker_release: {{version: '29.1.3', package: docker.io, pin: {}}}\n"


def test_list_names_every_stack_with_its_digest_and_versions(tree: StackTree) -> None:
    done = tree.run("stack", "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    listed = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert list(listed) == stack_names()
    assert {"cpu", "gpu-cuda13", "gpu-wheels"} <= set(listed)
    for name, entry in listed.items():
        stack = load_stack(name)
        canonical = json.dumps(stack.variables, sort_keys=True, separators=(",", ":"))
        assert entry["digest"] == hashlib.sha256(canonical.encode()).hexdigest()
        assert entry["path"] == str(tree.root / "stacks" / f"{name}.yml")
        assert entry["versions"] == stack.versions
    table = tree.run("stack", "list").stdout
    for name, entry in listed.items():
        assert f"{entry['digest'][:12]}" in table
        assert f"{name} " in table


def test_the_digest_is_of_what_is_said_not_of_how_it_is_written(tree: StackTree) -> None:
    before = load_stack("cpu").digest
    tree.cpu.write_text("# another comment\n" + tree.cpu.read_text())
    assert load_stack("cpu").digest == before
    tree.cpu.write_text(tree.cpu.read_text().replace("docker.io", "docker"))
    assert load_stack("cpu").digest != before


def test_a_new_stack_is_listed_without_a_word_to_anybody(tree: StackTree) -> None:
    before = stack_names()
    (tree.root / "stacks" / "mine.yml").write_text(DOCKER.format(PIN.format("2999-01-01")))
    names = [entry["name"] for entry in json.loads(tree.run("stack", "list", "--json").stdout)]
    assert names == sorted([*before, "mine"])


def test_what_lies_beside_the_stacks_is_none(tree: StackTree) -> None:
    files = {path.stem for path in (tree.root / "stacks").glob("*.yml")}
    assert files - set(stack_names()) == {"constraints", "environment", "instances", "prices"}


@pytest.mark.parametrize("name", ["cpu", "gpu-cuda13", "neuron"])
def test_show_says_the_same_to_people_and_to_programs(tree: StackTree, name: str) -> None:
    shown = json.loads(tree.run("stack", "show", name, "--json").stdout)
    stack = load_stack(name)
    assert shown["records"].keys() == stack.records.keys()
    table = tree.run("stack", "show", name).stdout
    for component, record in shown["records"].items():
        assert {k: v for k, v in record.items() if k != "kind"} == stack.variables[component]
        kinds = {"archive", "source", "repository", "distribution", "python", "bundled"}
        assert record["kind"] in kinds
        row = next(line for line in table.splitlines() if line.startswith(f"{component} "))
        assert record["version"] in row
        assert record["kind"] in row
        assert ("pin" in record) == (record.get("pin", {}).get("review_by", "never") in row)


DIGEST, FINGERPRINT = "a1b2c3d4e5f6" + "0" * 52, "0" * 24 + "A1B2C3D4E5F60718"
REPOSITORY = {"repository": "https://vendor.example/apt", "key_url": "https://vendor.example/key"}
FILE = {"url": "https://vendor.example/1", "sha256": DIGEST}
UNLOCKED = {"reason": "x", "link": "https://vendor.example/", "review_by": "2999-01-01"}
VERIFIED: dict[str, tuple[dict[str, Any], str]] = {
    "enroot_release": (FILE, "sha256 a1b2c3d4e5f6…"),
    "aws_cli_release": (
        {**FILE, "signature": {"suffix": ".sig", "key": KEY, "fingerprint": OF_KEY}},
        f"sha256 a1b2c3d4e5f6…; signature of key …{OF_KEY[-16:]}",
    ),
    "pyxis_release": ({"by_architecture": {"aarch64": FILE, "x86_64": FILE}}, "for aarch64, x86"),
    "nvidia_dcgm_release": ({**REPOSITORY, "key_sha256": DIGEST}, "key with sha256 a1b2c3d4e5f6…"),
    "nvidia_cuda_release": (
        {"by_platform": {"debian12-x86_64": {**REPOSITORY, "key_fingerprint": FINGERPRINT}}},
        "key …A1B2C3D4E5F60718; 1 platforms",
    ),
    "docker_release": ({"package": "docker.io"}, "the distribution's archive key"),
    "libfabric_release": ({"bundled_in": "enroot_release"}, "what verifies enroot_release"),
    "pytorch_release": (
        {"requirements": [{"name": "torch", "version": "1", "sha256": [DIGEST, "b" * 64]}]},
        "sha256 of 2 wheels of 1 distributions",
    ),
    "pytorch_neuron_release": (
        {"requirements": [{"name": "torch-neuronx", "version": "1"}], "unlocked": UNLOCKED},
        "sha256 of 0 wheels of 1 distributions; 1 have none yet",
    ),
}


def test_show_tells_what_each_download_is_verified_by(tree: StackTree) -> None:
    records = {name: {"version": "1", **record} for name, (record, _) in VERIFIED.items()}
    tree.cpu.write_text(json.dumps(records))
    rows = tree.run("stack", "show", "cpu").stdout.splitlines()
    found = {row.split()[0]: row for row in rows}
    for name, (_, told) in VERIFIED.items():
        assert told in found[name]


def test_check_tells_of_every_rule_on_every_stack(tree: StackTree) -> None:
    done = tree.run("stack", "check", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    judged = {entry["stack"]: entry["rules"] for entry in json.loads(done.stdout)}
    assert list(judged) == stack_names()
    rules = {name: [rule["rule"] for rule in found] for name, found in judged.items()}
    assert all(found == rules["cpu"] for found in rules.values())
    assert len(rules["cpu"]) >= 15
    statuses = {rule["status"] for found in judged.values() for rule in found}
    assert statuses == {"holds", "not_applicable"}


def test_a_context_makes_more_rules_apply(tree: StackTree) -> None:
    def applying(*options: str) -> int:
        done = tree.run("stack", "check", "gpu-cuda13", "--json", *options)
        return sum(r["status"] == "holds" for r in json.loads(done.stdout)[0]["rules"])

    machine = ("--context", "gpu_generation=hopper", "--context", "os=ubuntu24.04")
    assert applying(*machine) > applying()


@pytest.mark.parametrize(("date", "due"), [("2020-01-31", True), ("2999-01-31", False)])
def test_a_pin_whose_review_is_due_is_a_warning(tree: StackTree, date: str, due: bool) -> None:
    tree.cpu.write_text(DOCKER.format(PIN.format(date)))
    done = tree.run("stack", "check", "cpu")
    assert done.returncode == 0
    told = (
        "warning: cpu: the review of docker_release's pin was due on 2020-01-31: "
        "waits for [it] (https://vendor.example/why)\n"
    )
    assert done.stderr == (told if due else "")
    overdue = json.loads(tree.run("stack", "check", "cpu", "--json").stdout)[0]["overdue_pins"]
    assert [pin["record"] for pin in overdue] == (["docker_release"] if due else [])


def test_schemas_are_compared_and_written(tree: StackTree) -> None:
    folder = tree.root / "schemas"
    missing = tree.run("stack", "schema", "--check")
    assert missing.returncode == 1
    assert "out of date: stack.json, constraints.json, instances.json" in missing.stderr
    assert "remedy: run `bakehouse stack schema`" in missing.stderr
    assert not folder.exists(), "a comparison writes nothing"
    written = tree.run("stack", "schema")
    assert written.returncode == 0
    assert written.stdout.count("wrote ") == 6
    assert tree.run("stack", "schema", "--check").returncode == 0
    assert tree.run("stack", "schema").stdout == ""
    (folder / "images.json").write_text((folder / "images.json").read_text() + "\n")
    assert "out of date: images.json" in tree.run("stack", "schema", "--check").stderr
    stale = json.loads(tree.run("stack", "schema", "--check", "--json").stdout)
    assert stale == {"outdated": [str(folder / "images.json")]}


def test_the_schemas_of_the_repository_pass_the_comparison(
    tree: StackTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "SCHEMAS", PUBLISHED)
    done = tree.run("stack", "schema", "--check")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", schema.MODELS)
def test_each_schema_is_strict_and_says_that_it_is_made(name: str) -> None:
    content = json.loads((PUBLISHED / name).read_text())
    Draft202012Validator.check_schema(content)
    assert content["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert content["$comment"] == schema.NOTICE
    definitions = [content, *content["$defs"].values()]
    for definition in definitions:
        if "properties" in definition:
            assert definition["additionalProperties"] is False
    assert not Draft202012Validator(content).is_valid({"unknown": {}})
