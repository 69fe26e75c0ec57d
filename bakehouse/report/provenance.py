"""Where an image comes from: an in-toto statement with SLSA provenance, signed with a local key.

Formats: in-toto Statement v1, SLSA provenance v1, DSSE (github.com/secure-systems-lab/dsse).
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from bakehouse.errors import InputError
from bakehouse.stacks.records import ArchiveRecord, ArchivesRecord, PythonRecord, SourceRecord
from bakehouse.stacks.stack import Stack

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
PAYLOAD = "application/vnd.in-toto+json"
BUILD_TYPE = "https://bakehouse.invalid/build/v1"
KEY_NAME = "provenance.pem"
MALFORMED = (ValueError, KeyError, TypeError, AttributeError)
"""What reading an envelope raises that is not one."""


def statement(
    image: str,
    image_id: str,
    files: dict[str, str],
    stack: Stack,
    build: dict[str, Any],
    identity: dict[str, Any] | None,
) -> dict[str, Any]:
    """An in-toto statement.

    Args:
        image: Name of the image.
        image_id: `sha256:` and its digest.
        files: File name to SHA-256 of what lies beside the image.
        stack: What it was built from.
        build: layers.json.
        identity: The image's identity file.
    """
    subjects = [{"name": image, "digest": {"sha256": image_id.removeprefix("sha256:")}}]
    subjects += [{"name": n, "digest": {"sha256": d}} for n, d in sorted(files.items())]
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"image": image, "stack": stack.name},
                "internalParameters": {
                    "stackDigest": stack.digest,
                    "layers": {layer["name"]: layer["key"] for layer in build.get("layers", [])},
                },
                "resolvedDependencies": list(_dependencies(stack, identity)),
            },
            "runDetails": {
                "builder": {"id": "https://bakehouse.invalid/builder/local"},
                "metadata": {
                    "invocationId": build.get("build", ""),
                    "startedOn": build.get("started", ""),
                },
            },
        },
    }


def sign(content: dict[str, Any], keys: Path) -> str:
    """Sign a statement with the local key, made on first use; returns the DSSE envelope as JSON.

    Args:
        content: The statement.
        keys: Folder of the key; it stays on this machine.
    """
    signer = CryptoSigner(_private_key(keys))
    payload = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    envelope = Envelope(payload, PAYLOAD, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), indent=1) + "\n"


def public_key(keys: Path) -> str:
    """The public half of the local key, PEM."""
    key = _private_key(keys).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def verify(envelope_file: Path, key_file: Path) -> dict[str, Any]:
    """Check a signature and the files beside it; returns the statement.

    Raises:
        InputError: The signature is not of this key, or a file is not the one that was signed.
    """
    try:
        envelope = Envelope.from_dict(json.loads(envelope_file.read_text(encoding="utf-8")))
        key = SSlibKey.from_crypto(load_pem_public_key(key_file.read_bytes()))
        envelope.verify([key], 1)
        content: dict[str, Any] = json.loads(envelope.payload)
    except (OSError, *MALFORMED, VerificationError) as error:
        raise InputError(
            f"the provenance is not signed by this key: {error}",
            where=str(envelope_file),
            remedy=f"compare {key_file} with the key of whoever built the image",
        ) from error
    for subject in content["subject"][1:]:
        path = envelope_file.parent / subject["name"]
        if not path.is_file() or digest(path) != subject["digest"]["sha256"]:
            raise InputError(
                f"{subject['name']} is not the file that was signed",
                where=str(path),
                remedy="get it again from whoever built the image",
            )
    return content


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _private_key(keys: Path) -> Ed25519PrivateKey:
    path = keys / KEY_NAME
    if not path.is_file():
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = Ed25519PrivateKey.generate()
        path.touch(mode=0o600)
        path.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    loaded = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(loaded, Ed25519PrivateKey)
    return loaded


def _dependencies(stack: Stack, identity: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    commit = str((identity or {}).get("commit", ""))
    if len(commit.removesuffix("+modified")) == 40:
        yield {"name": "source", "digest": {"gitCommit": commit.removesuffix("+modified")}}
    architecture = str((identity or {}).get("os", {}).get("architecture", ""))
    for name, record in stack.records.items():
        if isinstance(record, ArchiveRecord | ArchivesRecord):
            for built_for, artifact in record.artifacts().items():
                if built_for in {"", architecture}:
                    yield {"name": name, "uri": artifact.url, "digest": {"sha256": artifact.sha256}}
        elif isinstance(record, SourceRecord):
            digest = {"gitCommit": record.version, "gitTree": record.git_tree}
            yield {"name": name, "uri": record.url, "digest": digest}
        elif isinstance(record, PythonRecord):
            for requirement in record.requirements:
                uri = f"pkg:pypi/{requirement.name}@{requirement.version}"
                # Wheels that are not locked yet have none.
                known = {"digest": {"sha256": requirement.sha256[0]}} if requirement.sha256 else {}
                yield {"uri": uri, **known}
        else:
            yield {"name": name, "annotations": {"version": record.version}}
