"""A vendor with one archive and one package in an apt repository, both signed; on loopback."""

import hashlib
from pathlib import Path
from typing import Any

import servers
from vendor_mirror import apt, signing
from vendor_mirror.offer import Package

ARCHIVE = b"an archive of the vendor\n"
URL = "https://vendor.example"
PACKAGE = f"tool_1.0-{apt.REVISION}_all.deb"


def fill(server: servers.Server, folder: Path) -> dict[str, Any]:
    """Put the vendor's files on a server; returns the records of a stack."""
    folder.mkdir()
    with signing.key() as key:
        apt.build(Package(name="tool", version="1.0"), folder)
        apt.repository(folder, key, "x86_64")
        server.files["/apt/key.asc"] = key.public
        signature = {
            "suffix": ".sig",
            "key": key.public.decode(),
            "fingerprint": key.fingerprint,
        }
        archive, signed = folder / "archive", folder / "archive.sig"
        archive.write_bytes(ARCHIVE)
        key.sign(archive, signed, armour=False)
        server.files["/archive.tar.sig"] = signed.read_bytes()
        archive.unlink()
        signed.unlink()
    for path in folder.iterdir():
        # apt writes a plus so.
        server.files[f"/apt/{path.name.replace('+', '%2b')}"] = path.read_bytes()
    server.files["/archive.tar"] = ARCHIVE
    return {
        "archive_release": {
            "version": "1.0",
            "url": f"{URL}/archive.tar",
            "sha256": hashlib.sha256(ARCHIVE).hexdigest(),
            "signature": signature,
        },
        "tool_release": {
            "version": "1.0",
            "repository": f"{URL}/apt",
            "key_url": f"{URL}/apt/key.asc",
            "key_sha256": hashlib.sha256(server.files["/apt/key.asc"]).hexdigest(),
            "package": "tool",
        },
    }
