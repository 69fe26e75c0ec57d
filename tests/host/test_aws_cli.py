"""What the role aws_cli promises: the stack's version, for everybody, and nobody's settings."""

import re
from collections.abc import Callable

from testinfra.host import Host

PROGRAM = "/usr/local/bin/aws"
FOLDER = "/usr/local/aws-cli/v2"


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    observed = re.search(r"aws-cli/(\S+)", host.check_output(f"{PROGRAM} --version"))
    assert observed is not None
    record_property("aws_cli", observed[1])
    assert observed[1] == stack_versions["aws_cli_release"]


def test_it_is_the_only_one(host: Host, stack_versions: dict[str, str]) -> None:
    there = set(host.check_output(f"ls {FOLDER}").split())
    assert there == {"current", stack_versions["aws_cli_release"]}


def test_ordinary_users_can_run_it(host: Host) -> None:
    assert host.run(f"setpriv --reuid=65534 --clear-groups {PROGRAM} --version").rc == 0


def test_nothing_of_the_archive_is_left(host: Host) -> None:
    assert host.run("ls -d /var/cache/bakehouse/aws*cli*").stdout == ""


def test_nobody_is_given_settings(host: Host) -> None:
    assert not host.file("/root/.aws").exists


def test_bash_completes_commands(host: Host) -> None:
    folder = "/usr/share/bash-completion/completions"
    assert host.file(folder).mode == 0o755
    completion = host.file(f"{folder}/aws")
    assert completion.content_string == "complete -C '/usr/local/bin/aws_completer' aws\n"
    assert host.file("/usr/local/bin/aws_completer").exists
