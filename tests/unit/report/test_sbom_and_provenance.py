"""SBOMs that others can read, and a signature that notices every change."""

import datetime
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from made_results import IMAGE_ID
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from bakehouse.errors import InputError
from bakehouse.report import provenance, sbom
from bakehouse.report.content import Report
from bakehouse.report.inventory import Inventory
from bakehouse.stacks.stack import load_stack

NOW = datetime.datetime(2026, 11, 24, 2, tzinfo=datetime.UTC)


def test_cyclonedx_is_valid_and_has_every_package(inventory: Inventory) -> None:
    text = sbom.cyclonedx("cpu", IMAGE_ID, inventory, NOW)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = {c["name"]: c for c in json.loads(text)["components"]}
    assert set(components) == {package.name for package in inventory.packages}
    assert components["libc6"]["purl"].startswith("pkg:deb/debian/libc6@2.36")
    assert "distro=debian-12" in components["libc6"]["purl"]
    assert components["Jinja2"]["purl"] == "pkg:pypi/jinja2@3.1.6"
    assert components["gdrcopy"]["hashes"] == [{"alg": "SHA-256", "content": "cd" * 32}]


def test_the_same_image_has_the_same_serial_number(inventory: Inventory) -> None:
    first, second, other = (
        json.loads(sbom.cyclonedx("cpu", identifier, inventory, NOW))["serialNumber"]
        for identifier in (IMAGE_ID, IMAGE_ID, f"sha256:{'0' * 64}")
    )
    assert first == second != other


def test_spdx_is_valid_and_has_every_package(inventory: Inventory, tmp_path: Path) -> None:
    path = tmp_path / "sbom.spdx.json"
    path.write_text(sbom.spdx("cpu", IMAGE_ID, inventory, NOW))
    document = parse_file(str(path))
    assert validate_full_spdx_document(document) == []
    assert {p.name for p in document.packages} == {"cpu", *(p.name for p in inventory.packages)}


@pytest.fixture
def signed(report: Report, tmp_path: Path) -> Path:
    """A folder with a file, its signed provenance, and the key's public half."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "report.json").write_text("{}")
    digests = {"report.json": provenance.digest(folder / "report.json")}
    stack = load_stack("cpu")
    content = provenance.statement("cpu", IMAGE_ID, digests, stack, report.build, report.identity)
    keys = tmp_path / "keys"
    (folder / "provenance.json").write_text(provenance.sign(content, keys))
    (folder / "provenance.pub").write_text(provenance.public_key(keys))
    return folder


def verify(folder: Path) -> dict[str, Any]:
    return provenance.verify(folder / "provenance.json", folder / "provenance.pub")


def test_the_statement_says_what_was_built_from_what(signed: Path) -> None:
    content = verify(signed)
    assert content["_type"] == "https://in-toto.io/Statement/v1"
    assert content["subject"][0] == {"name": "cpu", "digest": {"sha256": "ab" * 32}}
    definition = content["predicate"]["buildDefinition"]
    assert definition["internalParameters"]["layers"] == {"base": "9" * 64}
    dependencies = definition["resolvedDependencies"]
    assert {"name": "source", "digest": {"gitCommit": "0" * 40}} in dependencies
    wheels = [d["uri"] for d in dependencies if "uri" in d]
    assert any(uri.startswith("pkg:pypi/torch@") for uri in wheels)


@pytest.mark.parametrize("name", ["gpu-cuda13", "neuron"])
def test_archives_of_the_images_architecture_are_named(name: str, report: Report) -> None:
    stack = load_stack(name)
    content = provenance.statement("x", IMAGE_ID, {}, stack, report.build, report.identity)
    dependencies = content["predicate"]["buildDefinition"]["resolvedDependencies"]
    found = [d["uri"] for d in dependencies if d.get("name") == "aws_cli_release"]
    artifacts = stack.variables["aws_cli_release"]["by_architecture"]
    assert found == [artifacts["x86_64"]["url"]]


def test_wheels_without_digests_are_named_without(report: Report) -> None:
    stack = load_stack("neuron")
    content = provenance.statement("x", IMAGE_ID, {}, stack, report.build, report.identity)
    dependencies = content["predicate"]["buildDefinition"]["resolvedDependencies"]
    (wheel,) = [d for d in dependencies if d.get("uri", "").startswith("pkg:pypi/torch-neuronx@")]
    assert "digest" not in wheel


def test_the_private_key_stays_private(signed: Path, tmp_path: Path) -> None:
    key = tmp_path / "keys" / provenance.KEY_NAME
    assert key.stat().st_mode & 0o077 == 0
    assert not any("PRIVATE" in path.read_text() for path in signed.iterdir())


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def test_a_flipped_byte_in_the_statement_is_noticed(signed: Path) -> None:
    envelope = json.loads((signed / "provenance.json").read_text())
    envelope["payload"] = envelope["payload"][:40] + "Q" + envelope["payload"][41:]
    (signed / "provenance.json").write_text(json.dumps(envelope))
    with pytest.raises(InputError, match="not signed by this key"):
        verify(signed)


def test_a_flipped_byte_in_the_signature_is_noticed(signed: Path) -> None:
    envelope = json.loads((signed / "provenance.json").read_text())
    signature = envelope["signatures"][0]["sig"]
    envelope["signatures"][0]["sig"] = ("B" if signature[0] == "A" else "A") + signature[1:]
    (signed / "provenance.json").write_text(json.dumps(envelope))
    with pytest.raises(InputError, match="not signed by this key"):
        verify(signed)


def test_a_flipped_byte_in_a_file_is_noticed(signed: Path) -> None:
    flip(signed / "report.json", 0)
    with pytest.raises(InputError, match=r"report\.json is not the file that was signed"):
        verify(signed)


def test_a_missing_file_is_noticed(signed: Path) -> None:
    (signed / "report.json").unlink()
    with pytest.raises(InputError, match=r"report\.json is not the file that was signed"):
        verify(signed)


def test_the_key_of_somebody_else_does_not_verify(signed: Path, tmp_path: Path) -> None:
    (signed / "provenance.pub").write_text(provenance.public_key(tmp_path / "others"))
    with pytest.raises(InputError, match="not signed by this key"):
        verify(signed)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"payload": 1}'])
def test_what_is_no_envelope_is_told_as_such(signed: Path, text: str) -> None:
    (signed / "provenance.json").write_text(text)
    with pytest.raises(InputError, match="not signed by this key"):
        verify(signed)


def test_no_envelope_at_all_is_told_as_such(signed: Path) -> None:
    shutil.rmtree(signed)
    with pytest.raises(InputError, match="not signed by this key"):
        verify(signed)
