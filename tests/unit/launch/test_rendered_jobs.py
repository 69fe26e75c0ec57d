"""What holds of every launcher: all cases and instance types, no secret, always the same text."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from bakehouse.launch.batch import BatchOptions
from bakehouse.launch.case import Launcher, case_names, load_case
from bakehouse.launch.job import Job, prepare
from bakehouse.launch.kubernetes import KubernetesOptions
from bakehouse.launch.scheduler import Options, render
from bakehouse.stacks.instances import load_instances

VALUE = "hf_thisisthesecret"
ROLE = "arn:aws:iam::123456789012:role/batch"
PLACES: dict[Launcher, list[str]] = {
    "docker": ["HF_TOKEN"],
    "slurm": ["HF_TOKEN", "OTHER=/home/me/other"],
    "kubernetes": ["HF_TOKEN", "OTHER=hub/other"],
    "batch": ["HF_TOKEN=arn:aws:secretsmanager:eu-central-1:123456789012:secret:hf"],
}
CASES = [(name, launcher) for name in case_names() for launcher in load_case(name).launchers]
MODELS = [
    (name, model, launcher)
    for name, launcher in CASES
    for model in load_case(name).configurations
    if launcher != "docker"
]


def text(job: Job, launcher: Launcher, **options: Any) -> str:
    return render(job, launcher, Options(batch=BatchOptions(execution_role=ROLE), **options))


def shellcheck(script: str) -> str:
    """What shellcheck finds, which `make lint` needs as well."""
    program = shutil.which("shellcheck")
    assert program, "install shellcheck: `make setup-test`"
    done = subprocess.run([program, "-"], input=script, capture_output=True, text=True, check=False)
    return done.stdout


def syntax(script: str) -> str:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    return done.stderr


def node_script(requests: str) -> str:
    """The script that each node of a Batch job runs."""
    request = json.loads(requests)["register-job-definition"]
    container = request["nodeProperties"]["nodeRangeProperties"][0]["container"]
    return f"#!/bin/bash\n{container['command'][-1]}"


@pytest.mark.parametrize(("case", "launcher"), CASES)
def test_every_case_is_rendered_for_every_launcher_without_a_secret(
    case: str, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", VALUE)
    job = prepare(case, launcher, secrets=PLACES[launcher])
    rendered = text(job, launcher)
    assert VALUE not in rendered
    assert "HF_TOKEN" in rendered
    assert job.case.entry_point in rendered


@pytest.mark.parametrize(("case", "model", "launcher"), MODELS)
def test_every_model_is_rendered(case: str, model: str, launcher: Launcher) -> None:
    path = load_case(case).configurations[model].path
    assert f"--configuration={path}" in text(prepare(case, launcher, configuration=model), launcher)


@pytest.mark.parametrize("launcher", ["slurm", "kubernetes", "batch", "docker"])
@pytest.mark.parametrize("instance", load_instances())
def test_every_instance_type_is_rendered(instance: str, launcher: Launcher) -> None:
    job = prepare("cpu-ddp", launcher, instance=instance, processes_per_node=1)
    assert text(job, launcher)


@pytest.mark.parametrize(("case", "launcher"), CASES)
def test_the_same_job_is_the_same_text(case: str, launcher: Launcher) -> None:
    once, again = (text(prepare(case, launcher), launcher) for _ in range(2))
    assert once == again


@pytest.mark.lengthy
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"instance": "p5.48xlarge", "time_limit_s": 3600, "data": "/fsx/my data"},
        {"venv": "/fsx/venv", "code": "/fsx/it's code", "checkpoints": "/fsx/a b"},
        {"secrets": PLACES["slurm"], "logs": "/fsx/logs", "interface": "ens5"},
    ],
)
def test_sbatch_scripts_have_nothing_that_shellcheck_minds(options: dict[str, Any]) -> None:
    script = text(prepare("cpu-ddp", "slurm", **options), "slurm")
    assert syntax(script) == ""
    assert shellcheck(script) == ""


@pytest.mark.lengthy
def test_the_other_scripts_have_nothing_that_shellcheck_minds() -> None:
    for script in (
        text(prepare("cpu-ddp", "docker", secrets=["HF_TOKEN"]), "docker"),
        node_script(text(prepare("cpu-ddp", "batch"), "batch")),
    ):
        assert syntax(script) == ""
        assert shellcheck(script) == ""


@pytest.mark.parametrize("launcher", ["slurm", "kubernetes", "docker"])
def test_each_variable_has_its_reason_beside_it(launcher: Launcher) -> None:
    job = prepare("cpu-ddp", launcher, instance="p5.48xlarge")
    rendered = " ".join(
        line.strip().removeprefix("#").strip() for line in text(job, launcher).splitlines()
    )
    assert len(job.environment) >= 2
    for setting in job.environment:
        assert setting.reason in rendered


@pytest.mark.parametrize("kind", ["job", "pytorchjob"])
def test_kubernetes_takes_a_secret_of_the_jobs_name(kind: Any) -> None:
    job = prepare("cpu-ddp", "kubernetes", secrets=["HF_TOKEN"])
    rendered = text(job, "kubernetes", kubernetes=KubernetesOptions(kind=kind))
    assert "secretKeyRef:\n" in rendered
    assert f"name: {job.name}\n" in rendered
    assert "key: HF_TOKEN\n" in rendered
