"""The paxml test case, run by a Python 3.10 of this machine, since no image of ours has one."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakehouse import layout
from bakehouse.builder.wheelhouse import requirement_lines
from bakehouse.launch.case import load_case
from bakehouse.stacks.stack import load_stack

AT_MOST_S = 600
FOLDER = layout.CONTAINERS / "paxml"
VARIABLE = "BAKEHOUSE_TEST_PAXML_PYTHON"
"""Names an interpreter that has the packages of the stack `paxml` already."""

SHORT = ("steps=12", "checkpoint_every=100")
BROKEN_OPTIMIZER = """
import train, training.records
from paxml.tasks.lm import model_params
made = model_params.set_default_adam
def broken(task, rate, decay, **others):
    made(task, 0.0, 0.0, **others)
model_params.set_default_adam = broken
"""
BROKEN_SHARES = """
import train, training.records, data
dealt = data.Windows._trained_on
def broken(self):
    self.infeed_host_index = 0
    return dealt(self)
data.Windows._trained_on = broken
"""
pytestmark = pytest.mark.slow


def _python_3_10() -> str | None:
    found = shutil.which("python3.10")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return found or next((str(p) for p in sorted(pyenv.glob("3.10*/bin/python3.10"))), None)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An interpreter with the packages of the stack, each verified by its digest."""
    if given := os.environ.get(VARIABLE):
        yield given
        return
    interpreter = _python_3_10()
    if interpreter is None:
        pytest.skip(
            f"PaxML needs Python 3.10: there is none on PATH or of pyenv, and no {VARIABLE}"
        )
    folder = tmp_path_factory.mktemp("paxml")
    venv = folder / "venv"
    requirements = folder / "requirements.txt"
    record: Any = load_stack("paxml").records["paxml_release"]
    requirements.write_text("\n".join(requirement_lines(record.requirements)) + "\n")
    subprocess.run([interpreter, "-m", "venv", str(venv)], check=True)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    pip = [str(venv / "bin/python"), *install, "--requirement", str(requirements)]
    subprocess.run(pip, check=True, timeout=2 * AT_MOST_S)
    yield str(venv / "bin/python")
    shutil.rmtree(folder)


class Runs:
    """Runs of the program by one interpreter."""

    def __init__(self, python: str) -> None:
        self.python = python

    def start(
        self, folder: Path, *changes: str, ranks: int = 2, first: str = ""
    ) -> subprocess.Popen[str]:
        """Start the program.

        Args:
            folder: Of its checkpoints.
            changes: Of the configuration.
            ranks: Processes.
            first: Python that each process runs once it has met the others; breaks something.
        """
        program = FOLDER / "train.py"
        if first:
            program = folder.with_name(f"{folder.name}-broken.py")
            lines = ["import train, training.records", "met = train.meet", "def meet():"]
            lines += ["    met()", f"    exec({first!r}, {{}})"]
            lines += ["train.meet = meet", "training.records.run(train.main)"]
            program.write_text("\n".join(lines) + "\n")
        port = str(29600 + os.getpid() % 300)
        command = [self.python, "-m", "training.start", f"--nproc-per-node={ranks}"]
        command += ["--master-port", port, str(program), "--checkpoints", str(folder)]
        path = f"{layout.SHARED}{os.pathsep}{FOLDER}"
        return subprocess.Popen(
            [*command, *(part for change in changes for part in ("--set", change))],
            env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, folder: Path, *changes: str, **options: Any) -> tuple[int, list[dict[str, Any]]]:
        """Run it to its end; return its status and records."""
        with self.start(folder, *changes, **options) as process:
            try:
                said, _ = process.communicate(timeout=AT_MOST_S)
            finally:
                process.terminate()
        return process.returncode, [json.loads(line) for line in said.splitlines()]


@pytest.fixture(scope="module")
def runs(python: str) -> Runs:
    return Runs(python)


@pytest.fixture(scope="module")
def unbroken(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder and the records of a whole training by two processes."""
    folder = tmp_path_factory.mktemp("paxml-run") / "checkpoints"
    status, records = runs.run(folder)
    assert status == 0
    return folder, records


def losses(records: list[dict[str, Any]]) -> dict[int, float]:
    return {r["step"]: r["loss"] for r in records if r["event"] == "step"}


def test_two_processes_reach_the_promised_loss(unbroken: tuple[Path, Any]) -> None:
    first, final = unbroken[1][0], unbroken[1][-1]
    assert (first["world_size"], first["backend"]) == (2, "gloo")
    assert final["event"] == "final"
    assert final["loss"] <= load_case("paxml").checks.loss < losses(unbroken[1])[10]


def test_a_resume_repeats_an_unbroken_training_to_the_last_bit(
    runs: Runs, unbroken: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(unbroken[0], tmp_path / "again"))
    shutil.rmtree(folder / "checkpoints/checkpoint_00000120")
    status, records = runs.run(folder)
    assert (status, records[1]["event"], records[1]["step"]) == (0, "resume", 90)
    expected = {step: loss for step, loss in losses(unbroken[1]).items() if step > 90}
    assert losses(records) == expected
    assert records[-1]["parameters_sha256"] == unbroken[1][-1]["parameters_sha256"]
    assert records[-1]["loss"] == unbroken[1][-1]["loss"]


def test_an_optimizer_that_moves_nothing_misses_the_promised_loss(
    runs: Runs, tmp_path: Path
) -> None:
    status, records = runs.run(tmp_path / "broken", first=BROKEN_OPTIMIZER)
    assert status == 0
    assert records[-1]["loss"] > load_case("paxml").checks.loss


def test_one_process_has_the_losses_of_two_unless_they_share_wrongly(
    runs: Runs, tmp_path: Path
) -> None:
    alone, both, broken = (
        losses(runs.run(tmp_path / name, *SHORT, **options)[1])
        for name, options in (
            ("alone", {"ranks": 1}),
            ("both", {"ranks": 2}),
            ("broken", {"ranks": 2, "first": BROKEN_SHARES}),
        )
    )
    assert len(alone) == 12
    assert both == pytest.approx(alone, abs=1e-3)
    assert broken != pytest.approx(alone, abs=1e-3)


def test_a_checkpoint_of_another_model_is_refused(runs: Runs, unbroken: tuple[Path, Any]) -> None:
    status, records = runs.run(unbroken[0], "width=128")
    assert status == 2
    assert "width was 64, is 128" in records[-1]["message"]


def test_a_checkpoint_that_does_not_say_of_which_model_it_is_is_refused(
    runs: Runs, unbroken: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(unbroken[0], tmp_path / "nameless"))
    (folder / "configuration.json").unlink()
    status, records = runs.run(folder)
    assert status == 2
    assert "no configuration.json" in records[-1]["message"]


def test_a_loss_that_is_not_finite_ends_all(runs: Runs, tmp_path: Path) -> None:
    status, records = runs.run(tmp_path / "diverges", "learning_rate=1e9")
    assert (status, records[-1]["event"]) == (3, "error")


def test_a_killed_rank_ends_the_others(runs: Runs, tmp_path: Path) -> None:
    with runs.start(tmp_path / "killed") as process:
        try:
            assert process.stdout is not None
            next(line for line in process.stdout if '"step": 5,' in line)
            os.kill(_rank_1(process.pid), signal.SIGKILL)
            process.communicate(timeout=60)
        finally:
            process.terminate()
    assert process.returncode == 128 + signal.SIGKILL


def _rank_1(starter: int) -> int:
    children = Path(f"/proc/{starter}/task/{starter}/children").read_text().split()
    return next(
        int(pid) for pid in children if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes()
    )
