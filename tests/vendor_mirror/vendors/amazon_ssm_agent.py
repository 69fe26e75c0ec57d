"""The SSM Agent: AWS's package for Debian and Ubuntu, Amazon Linux's own.

Files: https://docs.aws.amazon.com/systems-manager/latest/userguide/agent-install-deb.html
"""

from vendor_mirror import apt
from vendor_mirror.offer import Package, Release, program, unit


def file(release: Release) -> bytes:
    """AWS's package."""
    return apt.content(package(release))


def package(release: Release) -> Package:
    """The package, whoever offers it."""
    name = "amazon-ssm-agent"
    agent = f"[ $# -gt 0 ] || exec sleep infinity; echo 'SSM Agent version: {release.version}'"
    files = {
        f"/usr/bin/{name}": program(agent),
        f"/lib/systemd/system/{name}.service": unit(name, f"/usr/bin/{name}"),
    }
    return Package(name=name, version=release.version, files=files)
