"""The download module of the role fetch as Ansible sees it, and the keys that it knows."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import servers
from known_keys import FINGERPRINT, KEY, OTHER_FINGERPRINT, OTHER_KEY
from module_runs import RunHere
from servers import Server

from bakehouse.layout import ROLES

LIBRARY = ROLES / "fetch" / "library"
CONTENT = b"a tool"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def vendor() -> Iterator[Server]:
    with servers.serving() as server:
        server.files["/tool"] = CONTENT
        yield server


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def binary(armoured: str) -> bytes:
    lines = [line for line in armoured.splitlines() if line and line[0] not in "-="]
    return base64.b64decode("".join(lines))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (KEY.encode(), FINGERPRINT),
        (KEY.replace("\n", "\r\n").encode(), FINGERPRINT),
        (binary(KEY), FINGERPRINT),
        ((KEY + OTHER_KEY).encode(), f"{FINGERPRINT}, {OTHER_FINGERPRINT}"),
        (binary(KEY) + binary(OTHER_KEY), f"{FINGERPRINT}, {OTHER_FINGERPRINT}"),
        (b"", ""),
        (b"<html>Not found</html>", "of something that is not a key"),
        (binary(KEY)[:-5], "of something that is not a key"),
    ],
    ids=["armour", "windows", "binary", "two blocks", "two keys", "empty", "page", "cut off"],
)
def test_a_key_is_known_by_its_fingerprint(
    module: ModuleType, tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / "key").write_bytes(content)
    assert module.fingerprints(tmp_path / "key") == expected


def test_a_file_with_a_second_key_is_refused(module: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "served").write_text(KEY + OTHER_KEY, encoding="utf-8")
    with pytest.raises(module.DownloadError, match=OTHER_FINGERPRINT):
        module.fetch(
            url=(tmp_path / "served").as_uri(),
            expected=FINGERPRINT,
            dest=tmp_path / "key",
            patience=module.Patience(1, 0.0, 5.0),
            identify=module.fingerprints,
        )
    assert names(tmp_path) == ["served"]


def run_in_ansible(**arguments: Any) -> dict[str, Any]:
    """Have Ansible run the module, and return its result."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible"),
            "localhost",
            "--one-line",
            f"--module-path={LIBRARY}",
            "--module-name=verified_download",
            f"--args={json.dumps(arguments)}",
        ],
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "ANSIBLE_STDOUT_CALLBACK": "oneline",
            "ANSIBLE_MODULE_UTILS": str(LIBRARY.with_name("module_utils")),
            "NO_COLOR": "1",
        },
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return result


def test_ansible_downloads_once_and_then_changes_nothing(
    run_here: RunHere, vendor: Server, tmp_path: Path
) -> None:
    given = {
        "url": f"http://{vendor.address}/tool",
        "sha256": SHA256.upper(),
        "dest": str(tmp_path / "new" / "tool"),
    }
    assert run_here(**given, _ansible_check_mode=True)[1]["changed"] is True
    assert names(tmp_path) == []
    assert run_in_ansible(**given)["changed"] is True
    assert run_here(**given)[1]["changed"] is False
    assert vendor.asked == ["/tool"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "https://vendor.example/x", "sha256": "abc"}, "64 hexadecimal digits"),
        ({"url": "https://vendor.example/x", "fingerprint": "abc"}, "40 hexadecimal digits"),
        ({"url": "https://vendor.example/x"}, "one of the following is required"),
        ({"url": "ftp://vendor.example/x", "sha256": SHA256}, "must begin with https"),
        ({"url": "file:///does/not/exist", "sha256": SHA256}, "No such file"),
    ],
)
def test_ansible_hears_what_is_wrong(
    arguments: dict[str, str], message: str, run_here: RunHere, tmp_path: Path
) -> None:
    status, result = run_here(**arguments, dest=str(tmp_path / "tool"))
    assert status == 1
    assert message in result["msg"]
    assert names(tmp_path) == []
