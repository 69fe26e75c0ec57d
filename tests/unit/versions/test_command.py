"""`bakehouse versions` as its users meet it: tables, JSON, exit status, many hosts."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_node import SITE, FakeNode

MANY = 200


def run(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "bakehouse", "versions", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


def asked(*arguments: str, stdin: str = "") -> tuple[int, Any]:
    """Exit status and JSON of the command line."""
    done = run(*arguments, "--json", stdin=stdin)
    return done.returncode, json.loads(done.stdout)


def copied(hosts: Path, name: str) -> FakeNode:
    """One more good host."""
    shutil.copytree(hosts / "good", hosts / name, symlinks=True)
    return FakeNode(hosts / name)


def test_a_host_that_has_what_the_stack_promises_ends_in_0(hosts: Path) -> None:
    assert (hosts / "good").is_dir()
    status, content = asked("good", "--stack", "gpu-cuda13")
    target = content["targets"][0]
    promised = {n: v["status"] for n, v in target["components"].items() if v["expected"]}
    assert set(promised.values()) == {"agrees"}, promised
    assert (status, target["status"], target["stack"]) == (0, "agrees", "gpu-cuda13")
    assert asked("good")[1]["targets"][0]["status"] == "no stack"


def test_drift_ends_in_1_and_is_marked_beside_the_stack(hosts: Path) -> None:
    node = copied(hosts, "drifted")
    node.says("/usr/bin/docker", "Docker version 28.0.1, build 1")
    done = run("drifted", "--stack", "gpu-cuda13")
    assert done.returncode == 1
    row = next(line for line in done.stdout.splitlines() if line.startswith("Docker"))
    assert row.split() == ["Docker", "29.1.3", "drift:", "28.0.1"]
    assert "28.0.1 at /usr/bin/docker; the stack says 29.1.3" in done.stdout
    assert "drifted: not as the stack says: docker" in done.stderr
    assert run("drifted").returncode == 0


def test_the_stack_of_the_image_is_the_default(hosts: Path) -> None:
    node = copied(hosts, "baked")
    node.write("/etc/bakehouse/image.json", '{"image": "gpu", "stack": {"name": "gpu-cuda13"}}')
    target = asked("baked")[1]["targets"][0]
    assert (target["stack"], target["image"], target["status"]) == ("gpu-cuda13", "gpu", "agrees")
    node.distribution("torch", "2.14.0")
    shutil.rmtree(next((node.root / SITE[1:]).glob("torch-2.15*")))
    status, content = asked("baked")
    assert (status, content["targets"][0]["components"]["pytorch"]["status"]) == (1, "drift")


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("dead1", "Connection refused"),
        ("pythonless1", "no python3 there"),
        ("endless1", "it writes without end"),
        ("missing1", "this is no answer of the probe"),
    ],
)
def test_a_host_that_cannot_answer_is_told_and_ends_in_1(host: str, told: str, hosts: Path) -> None:
    if host == "missing1":
        (hosts / "bin" / "python3").unlink()
        (hosts / "bin" / "python3").write_text("#!/bin/sh\ncat >/dev/null\necho hello\n")
        (hosts / "bin" / "python3").chmod(0o755)
    alone = run(host)
    assert alone.returncode == 1
    assert told in alone.stderr
    assert host in alone.stderr
    assert "Traceback" not in alone.stderr
    if host != "missing1":
        status, content = asked("good", host)
        assert (status, content["silent"]) == (1, [host])
        assert told in content["targets"][1]["error"]
        assert content["targets"][0]["status"] == "no stack"


def test_what_a_login_shell_prints_is_not_taken_for_the_answer(hosts: Path) -> None:
    assert (hosts / "good").is_dir()
    status, content = asked("talks-good", "--stack", "gpu-cuda13")
    assert (status, content["targets"][0]["status"]) == (0, "agrees")


def test_an_answer_of_another_shape_is_unclear(hosts: Path) -> None:
    assert hosts
    status, content = asked("odd1", "--stack", "gpu-cuda13")
    assert status == 1
    assert content["targets"][0]["components"]["docker"]["status"] == "unclear"


def test_ssh_that_is_not_installed_is_told() -> None:
    done = run("node1", "--ssh-program", "/nowhere/ssh")
    assert done.returncode == 3
    assert "/nowhere/ssh is not installed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "there is nothing to ask"),
        (("localhost", "--stack", "gpu"), "there is no stack gpu"),
        (("-oProxyCommand=x",), "No such option"),
        (("--", "-oProxyCommand=x"), "this is no host"),
        (("--hosts", "/nowhere"), "it cannot be read"),
    ],
)
def test_wrong_input_ends_in_2(arguments: tuple[str, ...], told: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert told.lower() in done.stderr.lower()


def test_hosts_come_from_standard_input_each_once(hosts: Path) -> None:
    copied(hosts, "two")
    status, content = asked("two", "--hosts", "-", stdin="good\n# x\ngood\nuser@two\n")
    assert status == 0
    assert [target["target"] for target in content["targets"]] == ["two", "good", "user@two"]
    assert content["groups"] == [{"targets": ["two", "good", "user@two"], "differs": {}}]


def test_options_reach_ssh(hosts: Path) -> None:
    run("ssh://me@good:2222", "--ssh-option", "IdentityFile=a b.pem", "--timeout", "12")
    log = (hosts / "ssh.log").read_text().split(" -- ")
    assert log[0] == "-o BatchMode=yes -o ConnectTimeout=4 -o IdentityFile=a b.pem -p 2222"
    assert log[1].startswith("me@good python3 -I -S - --limit 6")


def test_this_machine_is_asked_without_ssh_or_docker() -> None:
    status, content = asked("localhost")
    target = content["targets"][0]
    assert (status, target["kind"], target["status"]) == (0, "local", "no stack")
    assert target["components"]["python"]["status"] == "present"


@pytest.mark.lengthy
def test_two_hundred_hosts_answer_in_20_s_and_the_odd_ones_are_named(hosts: Path) -> None:
    names = [f"node{number:03}" for number in range(MANY)]
    for name in names:
        copied(hosts, name)
    odd = FakeNode(hosts / "node117")
    odd.says("/usr/bin/docker", "Docker version 28.0.1, build 1")
    odd.write("/opt/amazon/ofi-nccl/lib/libnccl-net-ofi.so", b"aws-ofi-nccl 1.13.2-aws\0")
    FakeNode(hosts / "node023").program("/usr/bin/dcgmi", "sleep 60")
    listed = "\n".join(["hangs1", "dead1", "endless1", *names])
    started = time.monotonic()
    done = run("--hosts", "-", "--stack", "gpu-cuda13", "--timeout", "12", stdin=listed)
    seconds = time.monotonic() - started
    assert seconds < 20
    assert done.returncode == 1
    told = [line for line in done.stdout.splitlines() if line.startswith(("differs", "no answer"))]
    assert sorted(told) == [
        "differs: node023: DCGM unclear (most: 4.6.0)",
        "differs: node117: OFI plugin 1.13.2 (most: 1.21.1), Docker 28.0.1 (most: 29.1.3)",
        "no answer: dead1: ssh: connect to host dead1 port 22: Connection refused",
        "no answer: endless1: it writes without end",
        "no answer: hangs1: no answer within 12 s",
    ]
    heading = done.stdout.splitlines()[0]
    assert "node000 … node199 (198)" in heading
    assert "node023, node117: not as the stack says" in done.stderr


@pytest.mark.lengthy
def test_a_host_that_hangs_holds_no_other(hosts: Path) -> None:
    assert (hosts / "good").is_dir()
    listed = [*(f"hangs{n}" for n in range(4)), "good"]
    started = time.monotonic()
    status, content = asked(*listed, "--timeout", "3", "--parallel", "4")
    assert time.monotonic() - started < 10
    assert (status, content["silent"]) == (1, listed[:-1])
    assert content["targets"][-1]["status"] == "no stack"


def test_an_interrupt_ends_what_runs(hosts: Path) -> None:
    command = [sys.executable, "-m", "bakehouse", "versions", "hangs1", "hangs2"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = hosts / "ssh.log"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (
        not log.exists() or len(log.read_text().splitlines()) < 2
    ):
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=10)
    assert started.returncode == 130
    assert "Traceback" not in errors
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(hosts.parent / "ssh") not in listing.stdout
