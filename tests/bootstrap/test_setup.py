"""bootstrap/setup.sh says exactly what it lacks, and does nothing where nothing is lacking."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from bakehouse.layout import ROOT

NEEDS_SOMETHING = 3
STUBS = {
    "id": 'case "$1" in -u) echo "${STUB_UID:-0}" ;; -un) echo somebody ;; esac',
    "dpkg-query": 'if [ "$3" = "${STUB_MISSING:-}" ]; then exit 1; fi; printf installed',
    "docker": '[ "${STUB_ENGINE:-yes}" = yes ] || [ -e "${STUB_STARTS:-/nowhere}" ] && echo 20.10',
    "dockerd": 'echo "it is cold"; touch "${STUB_STARTS:-/dev/null}"',
    "apt-get": 'echo "apt-get $*" >>"$STUB_LOG"',
    "grep": 'case "$*" in *dockerd*) exit "${STUB_RUNNING:-1}" ;; esac; exec /usr/bin/grep "$@"',
    "systemctl": 'echo "systemctl $*" >>"$STUB_LOG"; touch "${STUB_STARTS:-/dev/null}"',
    "rm": 'case "$*" in *docker.pid) ;; *) exec /bin/rm "$@" ;; esac',
    "df": 'echo Avail; echo "${STUB_FREE_KB:-90000000}"; exit "${STUB_DF:-0}"',
    "sleep": "exec /bin/sleep 0.01",
}


@dataclass(frozen=True)
class Machine:
    """A checkout on a machine whose programs are stand-ins."""

    root: Path
    programs: Path
    log: Path

    def setup(self, purpose: str = "run", **told: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        environment = {
            **{name: text for name, text in os.environ.items() if name != "DOCKER_HOST"},
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "STUB_LOG": str(self.log),
            **told,
        }
        command = ["/bin/bash", str(self.root / "bootstrap" / "setup.sh"), purpose]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    def calls(self) -> list[str]:
        """What was called that changes a machine."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which the virtual environment and the collections are there."""
    root, programs = tmp_path / "checkout", tmp_path / "programs"
    shutil.copytree(ROOT / "bootstrap", root / "bootstrap")
    shutil.copytree(ROOT / "requirements", root / "requirements")
    shutil.copy(ROOT / "pyproject.toml", root)
    programs.mkdir()
    for name, script in STUBS.items():
        (programs / name).write_text(f"#!/bin/bash\n{script}\n")
        (programs / name).chmod(0o755)
    environment = root / ".venv" / "bin"
    environment.mkdir(parents=True)
    (environment / "bakehouse").write_text("#!/bin/sh\n")
    (environment / "bakehouse").chmod(0o755)
    texts = [root / "requirements" / "runtime.txt", root / "pyproject.toml"]
    content = b"".join(path.read_bytes() for path in texts)
    (root / ".venv" / ".stamp").write_text(hashlib.sha256(content).hexdigest())
    collections = root / ".bakehouse" / "collections"
    collections.mkdir(parents=True)
    lock = (root / "requirements" / "collections.txt").read_bytes()
    (collections / ".stamp").write_text(hashlib.sha256(lock).hexdigest())
    return Machine(root=root, programs=programs, log=tmp_path / "calls.log")


def test_where_nothing_is_lacking_nothing_is_done(machine: Machine) -> None:
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert done.stderr == "setup: ready\n"
    assert machine.calls() == []


def test_root_installs_what_is_missing(machine: Machine) -> None:
    done = machine.setup(STUB_MISSING="mmdebstrap")
    assert done.returncode == 0, done.stderr
    assert "[1/4] installing mmdebstrap" in done.stderr
    assert [call.split()[:2] for call in machine.calls()] == [
        ["apt-get", "update"],
        ["apt-get", "install"],
    ]
    assert machine.calls()[-1].split()[-1] == "mmdebstrap"


@pytest.mark.parametrize(("purpose", "installed"), [("disk", True), ("run", False)])
def test_qemu_is_installed_only_for_disks(machine: Machine, purpose: str, installed: bool) -> None:
    done = machine.setup(purpose, STUB_MISSING="qemu-system-x86")
    assert done.returncode == 0, done.stderr
    assert ("installing qemu-system-x86" in done.stderr) is installed


def test_a_user_is_told_what_root_must_install(machine: Machine) -> None:
    done = machine.setup(STUB_UID="1000", STUB_MISSING="packer")
    assert done.returncode == NEEDS_SOMETHING
    assert "only root can install them: packer" in done.stderr
    assert "apt-get install --no-install-recommends packer" in done.stderr
    assert machine.calls() == []


def test_a_user_without_an_engine_is_told_how_root_starts_one(machine: Machine) -> None:
    done = machine.setup(STUB_UID="1000", STUB_ENGINE="no")
    assert done.returncode == NEEDS_SOMETHING
    assert "as root: " in done.stderr
    assert ("systemctl start docker" in done.stderr) or ("usermod" in done.stderr)
    assert machine.calls() == []


def test_an_engine_elsewhere_that_does_not_answer_is_named(machine: Machine) -> None:
    done = machine.setup(STUB_ENGINE="no", DOCKER_HOST="tcp://engine.example:2375")
    assert done.returncode == NEEDS_SOMETHING
    assert "no Docker engine answers at DOCKER_HOST=tcp://engine.example:2375" in done.stderr


def test_beside_an_engine_that_hangs_no_second_one_is_started(machine: Machine) -> None:
    done = machine.setup(STUB_ENGINE="no", STUB_RUNNING="0")
    assert done.returncode == NEEDS_SOMETHING
    assert "a second one would break it" in done.stderr
    assert machine.calls() == []


def test_root_starts_an_engine_where_none_answers(machine: Machine, tmp_path: Path) -> None:
    done = machine.setup(STUB_ENGINE="no", STUB_STARTS=str(tmp_path / "started"))
    assert done.returncode == 0, done.stderr
    assert "setup: [4/4] starting the Docker engine" in done.stderr
    assert done.stderr.endswith("setup: ready\n")
    assert (tmp_path / "started").exists()


def test_an_engine_that_does_not_start_is_told_with_its_log(machine: Machine) -> None:
    done = machine.setup(STUB_ENGINE="no")
    assert done.returncode == NEEDS_SOMETHING
    assert "the Docker engine did not start" in done.stderr
    if not Path("/run/systemd/system").is_dir():
        log = machine.root / ".bakehouse" / "dockerd.log"
        assert str(log) in done.stderr
        assert log.read_text() == "it is cold\n"


@pytest.mark.parametrize(
    ("told", "warns"),
    [({"STUB_FREE_KB": "4500000"}, True), ({"STUB_FREE_KB": "4500000", "STUB_DF": "1"}, False)],
    ids=["full", "engine elsewhere"],
)
def test_a_nearly_full_disk_is_told_beforehand(
    machine: Machine, told: dict[str, str], warns: bool
) -> None:
    done = machine.setup(**told)
    assert done.returncode == 0, done.stderr
    assert ("4 GB are free where the Docker engine keeps images" in done.stderr) is warns


@pytest.mark.lengthy
def test_a_changed_requirement_makes_the_environment_anew(machine: Machine) -> None:
    (machine.root / "requirements" / "runtime.txt").write_text("nonsense==1 --hash=sha256:0\n")
    done = machine.setup()
    assert done.returncode != 0
    assert "[2/4]" in done.stderr
    assert (machine.root / ".venv" / ".stamp").read_text() != ""
