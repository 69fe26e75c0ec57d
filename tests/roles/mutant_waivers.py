"""What no scenario can show of a broken role, each with the reason."""

LATER_HELP = {
    "component": "what it does is judged by the tests of the roles that include it",
    "fetch": "as component",
}
"""Roles without an effect of their own, and why they are left out."""

_EQUIVALENT = {
    "aws_ofi_nccl": {
        "Let the loader find it": "AWS's installer does too; test_aws_tools builds one elsewhere",
        "Tell the loader": "AWS's installer does too; test_aws_tools builds one elsewhere",
    },
    "docker": {"Make the directory of the configuration": "Debian's package brings it"},
    "image_cleanup": {
        "Forget the builder's name": "Docker's own /etc/hosts has no such line",
        "Keep the journal in memory from here on": "seen only after a reboot",
        "Keep the random seed from being saved when this machine shuts down": (
            "the service does not run in a container"
        ),
    },
    "neuron_driver": {"Load the module on boot": "the script of AWS's package does too"},
    "node_exporter": {"Start it on boot": "Debian's package does too"},
    "nvidia_nccl": {
        "Let programs find a library that is not in the system's folders": (
            "that of packages is in them"
        ),
    },
    "pyxis": {
        "Make the folder of plugins": "the role slurm does too; playbooks try it without",
        "Have Slurm read the folder": "the role slurm does too; playbooks try it without",
    },
    "slurm": {
        "Make the folders of the configuration": "Debian's packages bring them",
        "Have Slurm load what other roles put into the folder of plugins": (
            "Debian's configuration does too"
        ),
    },
}
_UNREACHED = {
    "aws_ofi_nccl": {"build.yml": "the scenario's is the installer's; test_aws_tools builds one"},
    "docker": {"daemon_part.yml": "for other roles; test_docker_daemon runs it with them"},
    "node_exporter": {
        "install_archive.yml": "of the distribution there; test_exporters unpacks it"
    },
    "nvidia_cuda": {"install_wheels.yml": "packages there; test_cuda installs wheels"},
    "nvidia_driver": {"install_runfile.yml": "packages there; nothing runs the vendor's installer"},
    "nvidia_fabric_manager": {"lock_dnf.yml": "apt there; test_platforms runs it"},
    "nvidia_nccl": {
        "install_source.yml": "packages there; test_cuda builds it",
        "install_wheels.yml": "packages there; test_cuda installs wheels",
    },
    "packages": {"dnf.yml": "apt there; test_dnf runs it"},
}


def _keys(by_role: dict[str, dict[str, str]]) -> frozenset[tuple[str, str]]:
    """Pairs of a role and what is waived of it."""
    return frozenset((role, what) for role, waived in by_role.items() for what in waived)


EQUIVALENT = _keys(_EQUIVALENT)
"""Role and task whose absence makes no difference in the role's scenario."""

UNREACHED = _keys(_UNREACHED)
"""Role and file of tasks that the role's scenario does not run."""
