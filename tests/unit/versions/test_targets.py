"""What a word of the command line means, and how it is reached."""

import pytest

from bakehouse.errors import InputError
from bakehouse.versions.reach import Way, ssh_command
from bakehouse.versions.targets import Target, parse, parse_hosts

IMAGES = {"cpu": "bakehouse/cpu:latest"}


@pytest.mark.parametrize(
    ("text", "kind", "address", "user", "port"),
    [
        ("localhost", "local", "", "", None),
        ("cpu", "image", "bakehouse/cpu:latest", "", None),
        ("docker://debian", "image", "debian", "", None),
        ("debian:12", "image", "debian:12", "", None),
        ("vendor.example:50/x@sha256:0a", "image", "vendor.example:50/x@sha256:0a", "", None),
        ("node7", "ssh", "node7", "", None),
        ("ubuntu@node7.example", "ssh", "node7.example", "ubuntu", None),
        ("ssh://node7", "ssh", "node7", "", None),
        ("ssh://ubuntu@node7:2222", "ssh", "node7", "ubuntu", 2222),
        ("ssh://ubuntu@[::1]:2222", "ssh", "::1", "ubuntu", 2222),
        ("10.0.0.7", "ssh", "10.0.0.7", "", None),
        ("fe80::1", "ssh", "fe80::1", "", None),
    ],
)  # fmt: skip
def test_a_word_is_one_kind_of_target(
    text: str, kind: str, address: str, user: str, port: int | None
) -> None:
    found = parse(text, IMAGES)
    assert (found.kind, found.address, found.user, found.port) == (kind, address, user, port)
    assert found.name == text


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "-oProxyCommand=touch x", "ssh://-oProxyCommand=x", "a b", "node;reboot", "$(x)",
        "ssh://node:0", "ssh://node:99999", "ssh://node:x", "ssh://a@b@c", "docker://-v", "-x/y",
        "ssh://", "docker://", "x@", "node\nother",
    ],
)  # fmt: skip
def test_what_could_be_an_option_or_a_command_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse(text, IMAGES)


def test_a_list_of_hosts_has_comments_and_names_the_line_that_is_wrong() -> None:
    found = parse_hosts("# cluster\nnode1\n\nubuntu@node2:2222  # odd\n cpu\n", "nodes.txt")
    assert [target.name for target in found] == ["node1", "ubuntu@node2:2222", "cpu"]
    assert {target.kind for target in found} == {"ssh"}
    with pytest.raises(InputError, match="no host") as wrong:
        parse_hosts("node1\nnode 2\n", "nodes.txt")
    assert wrong.value.where == "nodes.txt:2"
    with pytest.raises(InputError, match="no host in it"):
        parse_hosts("# nobody\n", "nodes.txt")


def test_ssh_asks_no_questions_and_takes_the_users_options() -> None:
    target = Target(name="x", kind="ssh", address="node7", user="ubuntu", port=2222)
    way = Way(timeout_s=30, ssh_options=("IdentityFile=a.pem", "User=x"))
    assert ssh_command(target, way) == [
        "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10",
        "-o", "IdentityFile=a.pem", "-o", "User=x", "-p", "2222", "--", "ubuntu@node7",
        "python3 -I -S - --limit 18",
    ]  # fmt: skip
