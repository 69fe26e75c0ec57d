"""The archive of node_exporter, with a program that knows nothing but its version."""

from vendor_mirror.offer import Files, Release, program

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def archive(release: Release) -> Files:
    """One folder, named as the archive."""
    top = f"node_exporter-{release.version}.linux-{ARCHITECTURES[release.architecture]}"
    said = f"echo 'node_exporter, version {release.version} (branch: HEAD, revision: none)'"
    return {f"{top}/node_exporter": program(said)}
