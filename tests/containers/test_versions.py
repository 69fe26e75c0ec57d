"""`bakehouse versions` of images, and of hosts behind a real sshd."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bakehouse import engine
from bakehouse.errors import CheckError, HostError

pytestmark = pytest.mark.docker

MACHINE = "bakehouse/debian-12-machine:latest"
HOSTS = 3


@pytest.fixture(scope="module")
def machine_image() -> str:
    """The machine that has an sshd, built if it is not there."""
    if engine.image(MACHINE) is None:
        command = [sys.executable, "-m", "bakehouse", "build", "debian-12-machine"]
        subprocess.run(command, check=True, capture_output=True)
    return MACHINE


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key, made for this run."""
    path = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def hosts(machine_image: str, key: Path) -> Iterator[list[str]]:
    """Addresses of machines with a real sshd that let our key in."""
    public = key.with_suffix(".pub").read_text().strip()
    setup = f"""
        mkdir -p /run/sshd /root/.ssh && echo '{public}' >/root/.ssh/authorized_keys
        ssh-keygen -A
        printf '#!/bin/sh\\necho Docker version 29.0.1, build 1\\n' >/usr/local/bin/docker
        chmod +x /usr/local/bin/docker
        echo 'echo greetings' >/root/.bashrc
        exec /usr/sbin/sshd -D -e
    """
    with ExitStack() as stack:
        command = ["sh", "-c", setup]
        started = [
            stack.enter_context(engine.running_container(machine_image, command, entrypoint=[]))
            for _ in range(HOSTS)
        ]
        addresses = [_address(container) for container in started]
        replaced = ["sed", "-i", "s/29.0.1/28.0.1/", "/usr/local/bin/docker"]
        assert started[-1].exec_run(replaced).exit_code == 0
        yield addresses


@pytest.fixture
def options(key: Path) -> list[str]:
    """What ssh is told: our key, and that hosts of a minute are not remembered."""
    told = [
        f"IdentityFile={key}",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "User=root",
    ]
    return [part for option in told for part in ("--ssh-option", option)]


def _address(container: engine.StartedContainer) -> str:
    """The address of a container whose sshd answers."""
    container.reload()
    address = next(iter(container.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"]
    ends = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection((address, 22), timeout=1) as connection:
                assert connection.recv(4) == b"SSH-"
            return str(address)
        except OSError:
            assert time.monotonic() < ends, container.logs()
            time.sleep(0.2)


def asked(*arguments: str) -> tuple[int, Any]:
    """Exit status and JSON of the command line."""
    done = subprocess.run(
        [sys.executable, "-m", "bakehouse", "versions", "--json", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "BAKEHOUSE_SSH": "ssh"},
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def test_hosts_behind_a_real_sshd_answer_and_the_odd_one_is_named(
    hosts: list[str], options: list[str]
) -> None:
    status, content = asked(*hosts, *options)
    assert status == 0, content
    assert content["silent"] == []
    assert [one["targets"] for one in content["groups"]] == [hosts[:-1], hosts[-1:]]
    assert content["groups"][1]["differs"] == {"docker": {"version": "28.0.1", "most": "29.0.1"}}
    target = content["targets"][0]
    assert target["components"]["os"]["version"].startswith("Debian GNU/Linux 12")
    assert target["components"]["python"]["found"][0]["where"] == "/usr/bin/python3"


def test_a_host_that_refuses_us_is_told_and_the_others_answer(
    hosts: list[str], options: list[str], tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    foreign = [option.replace(str(options[1]), f"IdentityFile={stranger}") for option in options]
    status, told = asked(f"ssh://root@{hosts[0]}:22", *foreign)
    assert status == 1
    assert "Permission denied" in told
    # Of TEST-NET-1, where nobody is.
    status, content = asked(hosts[0], "192.0.2.1", *options, "--timeout", "6")
    assert (status, content["silent"]) == (1, ["192.0.2.1"])
    assert content["targets"][0]["status"] == "no stack"


def test_an_image_is_asked_without_a_network_and_nothing_is_left(machine_image: str) -> None:
    status, content = asked("debian-12-machine", f"docker://{machine_image}", "--strict")
    assert status == 0, content
    target = content["targets"][0]
    assert (target["kind"], target["status"]) == ("image", "no stack")
    assert target["components"]["python"]["version"].startswith("3.11")
    assert target["components"]["kernel"]["status"] == "absent"
    assert content["groups"][0]["targets"] == ["debian-12-machine", f"docker://{machine_image}"]


def test_an_image_that_is_not_built_ends_in_3() -> None:
    status, told = asked("docker://bakehouse/not-built")
    assert status == 3
    assert "there is no image bakehouse/not-built" in told


def test_a_program_in_an_image_is_given_its_input_and_its_time(machine_image: str) -> None:
    def answer(*command: str) -> str:
        return engine.answer(machine_image, list(command), stdin=b"x" * 40000, timeout_s=3)

    assert answer("sh", "-c", "cat | wc -c; ls /sys/class/net").split() == ["40000", "lo"]
    with pytest.raises(CheckError, match="ended with 3: why"):
        answer("sh", "-c", "echo why; exit 3")
    with pytest.raises(CheckError, match="did not end within 3 s"):
        answer("sleep", "60")
    with pytest.raises(HostError, match="executable file not found"):
        answer("no-such-program")
