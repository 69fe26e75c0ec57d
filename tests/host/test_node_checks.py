"""What the role node_checks promises: the checks are there, and run with what every machine has."""

import json

from testinfra.host import Host

COMMAND = "/usr/local/bin/bakehouse-check"


def test_checks_are_listed(host: Host) -> None:
    listed = host.check_output(f"{COMMAND} --list")
    assert "image-identity" in listed
    assert len(listed.splitlines()) >= 10


def test_a_check_runs_and_says_what_it_measured(host: Host) -> None:
    done = host.run(f"{COMMAND} --check memory --json -")
    (result,) = json.loads(done.stdout)["results"]
    assert result["id"] == "memory"
    assert result["status"] in {"pass", "warn"}
    assert result["measured"] is not None


def test_an_ordinary_user_may_run_them(host: Host) -> None:
    done = host.run(f"su nobody --shell /bin/sh --command '{COMMAND} --list'")
    assert "image-identity" in done.stdout, done.stderr


def test_their_folder_may_be_read_by_all(host: Host) -> None:
    assert host.file("/opt/bakehouse/checks/bakehouse").mode == 0o755


def test_an_unknown_check_is_refused(host: Host) -> None:
    done = host.run(f"{COMMAND} --check no-such-check")
    assert done.rc == 2
    assert "no-such-check" in done.stderr
    assert "Traceback" not in done.stderr


def test_running_them_leaves_no_compiled_files(host: Host) -> None:
    assert host.check_output("find /opt/bakehouse/checks -name __pycache__") == ""
