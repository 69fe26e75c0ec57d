"""What roles do when a vendor's side is not as the stack promises: they stop, and say why."""

import json
import os
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from stand_ins import STACK, booted, scenario, stood_in_roles
from vendor_mirror import signing
from vendor_mirror.mirror import DISTRIBUTION, MOUNTED
from vendor_mirror.prepared import has_a_source

pytestmark = pytest.mark.docker

Variables = dict[str, Any]
DIGEST = "0" * 64
FINGERPRINT = "0" * 40
VANISHED = "0.0.1"
KEYS = ["/etc/apt/keyrings", "/etc/pki/rpm-gpg"]
NOWHERE = "file:///srv/nowhere/"
FETCHED = {"by_platform", "repository", "by_architecture", "url"}
FROM_THE_DISTRIBUTION = {("amazon2023", "amazon_ssm_agent"), ("amazon2023", "cloudwatch_agent")}
"""Where a role takes the distribution's package, and asks the vendor for nothing."""


def with_every(record: Any, key: str, value: str) -> Any:
    """A record in which every such key has another value."""
    if isinstance(record, list):
        return [with_every(part, key, value) for part in record]
    if not isinstance(record, dict):
        return record
    return {k: value if k == key else with_every(v, key, value) for k, v in record.items()}


def wrong_identity(release: str, record: Variables, _mirrors: Variables) -> Variables:
    """The vendor's key, or the archive, is another than the stack promises."""
    changed = with_every(record, "sha256", DIGEST)
    return {release: with_every(changed, "key_fingerprint", FINGERPRINT)}


def vanished_version(release: str, record: Variables, _mirrors: Variables) -> Variables:
    """The repository no longer has the version; an archive's digest vouches for it instead."""
    is_archive = {"url", "by_architecture"} & set(record)
    return {} if is_archive else {release: record | {"version": VANISHED}}


@cache
def stranger() -> Variables:
    """The identity of a key that has signed nothing."""
    with signing.key("A stranger") as key:
        return {"key": key.public.decode(), "fingerprint": key.fingerprint}


def signed_by_another_key(release: str, record: Variables, _mirrors: Variables) -> Variables:
    """The digest is right, the signature is of another key than the stack promises."""
    if "signature" not in record:
        return {}
    return {release: record | {"signature": record["signature"] | stranger()}}


def signature_of_another_file(_release: str, record: Variables, mirrors: Variables) -> Variables:
    """The key is right, and what it signed is not this archive."""
    if "signature" not in record:
        return {}
    architecture = os.uname().machine
    source = record.get("by_architecture", {}).get(architecture, record)
    address = source["url"] + record["signature"]["suffix"]
    return {"bakehouse_mirrors": mirrors | {address: f"file://{MOUNTED}/{DISTRIBUTION}.asc"}}


def mirror_down(_release: str, _record: Variables, mirrors: Variables) -> Variables:
    """Nothing is where the vendor's things should be."""
    return {"bakehouse_mirrors": dict.fromkeys(mirrors, NOWHERE)}


Fault = Callable[[str, Variables, Variables], Variables]
FAULTS: dict[Fault, tuple[str, ...]] = {
    wrong_identity: (DIGEST, FINGERPRINT),
    vanished_version: (VANISHED,),
    signed_by_another_key: ("its signature is not one of the key",),
    signature_of_another_file: ("its signature is not one of the key",),
    mirror_down: ("nowhere",),
}
"""Each fault, and what the message must name, one of them."""


EVERY_DAY = (wrong_identity, mirror_down)


def cases(
    system: str, faults: Collection[Fault], variables: Variables
) -> Iterator[tuple[str, Fault, Variables]]:
    """Role, fault, and the variables of the case."""
    for role in stood_in_roles():
        if (system, role) in FROM_THE_DISTRIBUTION:
            continue
        told = scenario(role)
        record = variables.get(f"{role}_release", {})
        if told.stack != STACK or system not in told.systems:
            continue
        if not has_a_source(record, system) or not FETCHED & set(record):
            continue
        for fault in faults:
            changed = fault(f"{role}_release", record, variables["bakehouse_mirrors"])
            if changed:
                yield role, fault, told.variables | changed


def tried(role: str, fault: Fault, given: Variables) -> dict[str, Any]:
    """A task that applies a role, keeps its message if it fails, and tidies up what it added."""
    places = ["/etc/apt/sources.list.d/{}.sources", "/etc/yum.repos.d/{}.repo"]
    tidied = [path.format(role) for path in places]
    message = {f"message_{role}_{fault.__name__}": "{{ ansible_failed_result | to_json }}"}
    told = scenario(role)
    before = [
        {"ansible.builtin.include_role": {"name": name}, "vars": told.variables}
        for name in told.before
    ]
    return {
        "block": [*before, {"ansible.builtin.include_role": {"name": role}, "vars": given}],
        "rescue": [{"ansible.builtin.set_fact": message}],
        "always": [
            # A key that an earlier fault left would hide that this one cannot be had.
            {"ansible.builtin.find": {"paths": KEYS, "patterns": "*.asc"}, "register": "found"},
            {
                "ansible.builtin.file": {"path": "{{ item }}", "state": "absent"},
                "loop": f"{{{{ {tidied} + found.files | map(attribute='path') | list }}}}",
            },
        ],
    }


@pytest.mark.parametrize(
    ("system", "faults"),
    [
        pytest.param("ubuntu24.04", EVERY_DAY, id="ubuntu24.04"),
        pytest.param(
            "ubuntu24.04", tuple(FAULTS)[1:-1], id="ubuntu24.04-more", marks=pytest.mark.slow
        ),
        pytest.param("amazon2023", tuple(FAULTS), id="amazon2023", marks=pytest.mark.slow),
    ],
)
def test_a_fault_of_the_vendor_stops_the_role_and_is_named(
    system: str, faults: Collection[Fault], tmp_path: Path
) -> None:
    with booted(STACK, system) as machine:
        variables = machine.variables() | {"fetch_attempts": 1}
        given = list(cases(system, faults, variables))
        names = [f"message_{role}_{fault.__name__}" for role, fault, _ in given]
        show = {
            "ansible.builtin.debug": {
                "msg": {name: f"{{{{ {name} | default('did not fail') }}}}" for name in names}
            }
        }
        report = machine.run(tmp_path, [*[tried(*case) for case in given], show], **variables)
    messages = report["plays"][0]["tasks"][-1]["hosts"]["target"]["msg"]
    assert given
    silent = {
        f"{role}, {fault.__name__}": json.dumps(messages[name])[:600]
        for (role, fault, _), name in zip(given, names, strict=True)
        if not any(word in str(messages[name]) for word in FAULTS[fault])
    }
    assert silent == {}
