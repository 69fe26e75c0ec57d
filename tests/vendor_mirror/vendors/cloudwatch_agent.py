"""The CloudWatch Agent: AWS's package for Debian and Ubuntu, Amazon Linux's own.

Files: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/download-cloudwatch-agent-commandline.html
"""

from vendor_mirror import apt
from vendor_mirror.offer import Package, Release, program, text, unit

FOLDER = "/opt/aws/amazon-cloudwatch-agent"


def file(release: Release) -> bytes:
    """AWS's package."""
    return apt.content(package(release))


def package(release: Release) -> Package:
    """The package, whoever offers it."""
    files = {
        f"{FOLDER}/bin/amazon-cloudwatch-agent": program("exec sleep infinity"),
        f"{FOLDER}/bin/CWAGENT_VERSION": text(f"{release.version}\n"),
        "/etc/systemd/system/amazon-cloudwatch-agent.service": unit(
            "the agent", f"{FOLDER}/bin/amazon-cloudwatch-agent"
        ),
    }
    return Package(name="amazon-cloudwatch-agent", version=release.version, files=files)
