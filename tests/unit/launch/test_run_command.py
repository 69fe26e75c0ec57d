"""`bakehouse run` on schedulers: what it prints, what it hands over, what it refuses."""

import json
import sys
from pathlib import Path

import pytest

from bakehouse import cli


def run(*arguments: str) -> int:
    """Status of `bakehouse run cpu-ddp` with arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bakehouse", "run", "cpu-ddp", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    code = ended.value.code
    return code if isinstance(code, int) else 0


@pytest.mark.parametrize("launcher", ["docker", "slurm", "kubernetes", "batch"])
def test_a_dry_run_prints_the_whole_and_nothing_else(
    launcher: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--on", launcher, "--dry-run") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    first = {"batch": "{", "kubernetes": "# Data"}.get(launcher, "#!/bin/bash\n")
    assert shown.out.startswith(first)
    assert shown.out.endswith("\n")


def test_an_image_without_cuda_for_gpus_is_told_beside_what_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--on", "slurm", "--instance", "p5.48xlarge", "--dry-run") == 0
    shown = capsys.readouterr()
    assert "no image of cpu-ddp is made for GPUs" in " ".join(shown.err.split())
    assert shown.out.startswith("#!/bin/bash\n")


@pytest.mark.parametrize("part", ["register-job-definition", "submit-job"])
def test_a_part_of_batchs_requests_is_that_ones_input(
    part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--on", "batch", "--dry-run") == 0
    both = json.loads(capsys.readouterr().out)
    assert run("--on", "batch", "--dry-run", "--part", part) == 0
    assert json.loads(capsys.readouterr().out) == both[part]


@pytest.mark.parametrize(("long", "short"), [("configuration", "model")])
def test_both_names_of_the_model_are_one(
    long: str, short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = []
    for name, processes in ((long, "processes-per-node"), (short, "nproc")):
        options = (f"--{name}", "digits-mlp", f"--{processes}", "3", "--nodes", "5")
        assert run("--on", "slurm", "--dry-run", *options) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert "--nproc-per-node=3" in texts[0]
    assert "#SBATCH --nodes=5" in texts[0]


@pytest.mark.usefixtures("known_image")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--on", "slurn"), "did you mean slurm?"),
        (("--on", "slurm", "--claim", "fsx"), "--claim: it says nothing to slurm"),
        (("--on", "kubernetes", "--venv", "/venv"), "--venv: it says nothing to kubernetes"),
        (("--on", "slurm", "--kill-node", "1"), "--kill-node: it says nothing to slurm"),
        (("--queue", "q"), "--queue: it says nothing to docker"),
        (("--on", "kubernetes", "--kind", "jobs", "--dry-run"), "did you mean job?"),
        (("--on", "batch", "--part", "submit", "--dry-run"), "did you mean submit-job?"),
        (("--on", "slurm", "--model", "digit-cnn", "--dry-run"), "did you mean digits-cnn?"),
        (("--on", "slurm", "--instance", "p5.48xlarg", "--dry-run"), "did you mean p5.48xlarge?"),
        (("--instance", "p5.48xlarge", "--nproc", "9"), "more than the 8 GPUs"),
        (("--secret", "NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE is not in this environment"),
    ],
)
def test_what_is_wrong_ends_in_2_with_a_remedy(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    shown = capsys.readouterr()
    assert (shown.out, said in shown.err, "remedy:" in shown.err) == ("", True, True)


@pytest.fixture
def known_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that has the image."""
    from types import SimpleNamespace

    from bakehouse import engine

    found = SimpleNamespace(id="sha256:1", attrs={"Config": {"User": "10001"}})
    monkeypatch.setattr(engine, "image", lambda _: found)


@pytest.mark.parametrize(("launcher", "program"), [("slurm", "sbatch"), ("kubernetes", "kubectl")])
def test_without_the_schedulers_program_it_ends_in_3(
    launcher: str, program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert run("--on", launcher) == 3
    shown = capsys.readouterr().err
    assert f"{program} does not run here" in shown
    assert "add --dry-run" in shown


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for sbatch and kubectl: keeps what it is given, and says 42."""
    script = '#!/bin/bash\nprintf "%s\\n" "$@" >{0}/arguments\ncat >{0}/given\necho 42\n'
    for name in ("sbatch", "kubectl"):
        path = tmp_path / name
        path.write_text(script.format(tmp_path))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


@pytest.mark.parametrize(
    ("launcher", "arguments"),
    [("slurm", ["--parsable"]), ("kubernetes", ["apply", "--filename=-"])],
)
def test_a_scheduler_is_given_what_a_dry_run_prints(
    launcher: str, arguments: list[str], program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--on", launcher, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert run("--on", launcher) == 0
    assert capsys.readouterr().out == "42\n"
    assert (program / "given").read_text() == printed
    assert (program / "arguments").read_text().split() == arguments


def test_a_scheduler_that_refuses_is_quoted(
    program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (program / "sbatch").write_text("#!/bin/bash\necho 'no such partition' >&2\nexit 1\n")
    assert run("--on", "slurm") == 6
    assert "sbatch refuses the job: no such partition" in capsys.readouterr().err
