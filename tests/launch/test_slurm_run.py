"""The rendered sbatch scripts on a real Slurm of two nodes, both of them one container.

Run: Debian's slurmctld, slurmd and srun, and a virtual environment (the image's own). Simulated: a
network between machines (there is one), and pyxis, for which a program of that name as `srun`
notes its arguments. Not run: enroot, HyperPod.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from case_under_test import CaseUnderTest
from slurm_in_one import Slurm, slurm
from started_runs import Finished

from bakehouse.launch.job import prepare
from bakehouse.launch.slurm import SlurmOptions, render

pytestmark = pytest.mark.docker

NAME = "cpu-ddp-digits-cnn"


@pytest.fixture(scope="module")
def cluster(case_image: str) -> Iterator[Slurm]:
    with slurm(case_image) as running:
        yield running


def script(**options: Any) -> str:
    where = {"venv": "/opt/venv", "code": "/opt/cpu-ddp"} if "image" not in options else {}
    job = prepare("cpu-ddp", "slurm", **{**where, **options})
    return render(job, SlurmOptions())


def records(
    cluster: Slurm, folder: str, job: int, attempt: int, name: str = NAME
) -> list[dict[str, Any]]:
    """What rank 0 printed in an attempt."""
    log = cluster.run(f"cat {folder}/{name}-{job}.{attempt}-node0.log || true")
    lines = [line for line in log.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines if line.endswith("}")]


def ended(cluster: Slurm, job: int) -> bool:
    return cluster.field(job, "JobState") in {"COMPLETED", "FAILED", "NODE_FAIL", "CANCELLED"}


def final(run: Finished) -> dict[str, Any]:
    """The last record of a run on Docker."""
    return dict(run.record["attempts"][-1]["records"][-1])


def test_a_job_whose_node_lost_its_processes_is_queued_again_and_ends_as_if_unbroken(
    cluster: Slurm, unbroken_run: Finished
) -> None:
    folder = "/shared/broken"
    job = cluster.submit(script(), folder)
    cluster.wait(job, "a checkpoint", lambda: in_mid_training(cluster, folder, job))
    cluster.kill_processes("node2")
    again(cluster, job)
    before, after = (records(cluster, folder, job, attempt) for attempt in (0, 1))
    assert (before[0]["event"], before[0]["world_size"]) == ("start", 4)
    assert before[-1]["event"] != "final"
    assert [record["event"] for record in after[:2]] == ["start", "resume"]
    newest = [record["step"] for record in before if record["event"] == "checkpoint"][-1]
    assert after[1]["step"] == newest
    assert after[-1]["event"] == "final"
    assert after[-1]["accuracy"] >= 0.95
    # Of the same training on Docker, which nobody disturbed.
    assert after[-1]["parameters_sha256"] == final(unbroken_run)["parameters_sha256"]
    for node in (0, 1):
        name = f"node {node} is node{node + 1}"
        assert name in cluster.run(f"cat {folder}/{NAME}-{job}.1-node{node}.log")
    shown = cluster.run(f"cat {folder}/{NAME}-{job}.out")
    assert "attempt 0 on node1 node2" in shown  # the second attempt did not empty the log
    assert "queued again" in shown
    assert '"event": "final"' in shown.splitlines()[-1]


def in_mid_training(cluster: Slurm, folder: str, job: int, name: str = NAME) -> bool:
    seen = [record["event"] for record in records(cluster, folder, job, 0, name)]
    assert "final" not in seen, "the job ended before anybody could disturb it"
    return "checkpoint" in seen


def again(cluster: Slurm, job: int) -> None:
    """Wait until a job has been queued again, let it begin at once, and wait for its end."""
    cluster.wait(job, "the restart", lambda: cluster.field(job, "Restarts") == "1")
    cluster.hurry(job)
    cluster.wait(job, "the end", lambda: ended(cluster, job))
    assert cluster.field(job, "JobState") == "COMPLETED", cluster.shown(job)


@pytest.mark.slow
def test_fsdp_over_both_nodes_is_queued_again_and_keeps_its_promise() -> None:
    folder, name = "/shared/fsdp", "fsdp-tiny"
    job_of_case = prepare("fsdp", "slurm", venv="/opt/venv", code="/opt/fsdp")
    with slurm(CaseUnderTest("fsdp", timeout_s=300).image) as cluster:
        job = cluster.submit(render(job_of_case, SlurmOptions()), folder)
        cluster.wait(job, "a checkpoint", lambda: in_mid_training(cluster, folder, job, name))
        cluster.kill_processes("node2")
        again(cluster, job)
        before, after = (records(cluster, folder, job, attempt, name) for attempt in (0, 1))
    assert (before[0]["world_size"], before[-1]["event"] == "final") == (2, False)
    newest = [record["step"] for record in before if record["event"] == "checkpoint"][-1]
    assert (after[1]["event"], after[1]["step"]) == ("resume", newest)
    losses = {r["step"]: r["loss"] for r in before if r["event"] == "step"}
    repeated = [r for r in after if r["event"] == "step" and r["step"] in losses]
    assert {r["step"]: r["loss"] for r in repeated} == {
        r["step"]: losses[r["step"]] for r in repeated
    }
    assert after[-1]["event"] == "final"
    assert after[-1]["loss"] <= job_of_case.case.promised("tiny")["loss"]


@pytest.mark.slow
def test_a_job_whose_node_falls_silent_is_queued_again_by_slurm_itself(
    cluster: Slurm, unbroken_run: Finished
) -> None:
    folder = "/shared/silent"
    job = cluster.submit(script(), folder)
    cluster.wait(job, "a checkpoint", lambda: in_mid_training(cluster, folder, job))
    cluster.freeze("node2")
    cluster.wait(job, "the restart", lambda: cluster.field(job, "Restarts") == "1")
    cluster.replace("node2")
    again(cluster, job)
    last = records(cluster, folder, job, attempt=1)[-1]
    assert last["parameters_sha256"] == final(unbroken_run)["parameters_sha256"]
    # Not the script's own doing.
    assert "queued again" not in cluster.run(f"cat {folder}/{NAME}-{job}.out")


def test_a_secret_comes_from_a_file_that_nobody_else_may_read(cluster: Slurm) -> None:
    folder = "/shared/secret"
    cluster.run(f"mkdir -p {folder} && echo s3cret-value > {folder}/token")
    text = script(secrets=[f"HF_TOKEN={folder}/token"])
    # In place of the training, which would tell nobody.
    text = text.replace("  torchrun\n", "  bash -c 'echo \"token ${#HF_TOKEN}\"' unused\n")
    for mode, state, said in (("644", "FAILED", "others may read"), ("600", "COMPLETED", "")):
        cluster.run(f"chmod {mode} {folder}/token")
        job = cluster.submit(text, folder)
        cluster.wait(job, "the end", lambda job=job: ended(cluster, job))
        assert cluster.field(job, "JobState") == state, cluster.shown(job)
        assert said in cluster.run(f"cat {folder}/{NAME}-{job}.out")
    assert "token 12" in cluster.run(f"cat {folder}/{NAME}-{job}.0-node1.log")
    assert "s3cret" not in cluster.run(f"cat {folder}/*.out {folder}/*.log {folder}/job.sbatch")


def stub(cluster: Slurm, folder: str, more: str = "") -> str:
    """An srun that notes its arguments and runs nothing; returns what lets a job find it."""
    cluster.run(f"mkdir -p {folder}/bin && cat > {folder}/bin/srun <<'END'\n{NOTES}{more}\nEND")
    cluster.run(f"chmod +x {folder}/bin/srun")
    return f"PATH={folder}/bin:$PATH"


NOTES = r"""#!/bin/bash
# Stands in for srun.
printf '%s\n' "$@" > "$SLURM_SUBMIT_DIR/arguments"
for argument; do
  case $argument in --output=*) log=${argument#--output=}; log=${log/\%n/0} ;; esac
done
touch "$log"
"""


@pytest.mark.parametrize("node", [0, 1])
def test_a_training_that_stops_itself_is_not_queued_again(cluster: Slurm, node: int) -> None:
    folder = f"/shared/diverged-{node}"
    told = f"""echo '{{"event": "error", "status": 3}}' >"${{log/node0/node{node}}}"; exit 1"""
    found = stub(cluster, folder, told)
    job = cluster.submit(script(), folder, environment=found)
    cluster.wait(job, "the end", lambda: ended(cluster, job))
    assert (cluster.field(job, "JobState"), cluster.field(job, "Restarts")) == ("FAILED", "0")
    assert "is not queued again" in cluster.run(f"cat {folder}/{NAME}-{job}.out")


def test_a_job_is_not_queued_again_for_ever(cluster: Slurm) -> None:
    folder = "/shared/failing"
    found = stub(cluster, folder, "exit 9")
    job = cluster.submit(script(restarts=1), folder, environment=found)
    cluster.wait(job, "the restart", lambda: cluster.field(job, "Restarts") == "1")
    cluster.hurry(job)
    cluster.wait(job, "the end", lambda: ended(cluster, job))
    assert (cluster.field(job, "ExitCode"), cluster.field(job, "Restarts")) == ("9:0", "1")
    assert "after 1 restarts" in cluster.run(f"cat {folder}/{NAME}-{job}.out")


def test_in_a_container_pyxis_is_told_image_mounts_folder_and_variables(cluster: Slurm) -> None:
    folder = "/shared/pyxis"
    found = stub(cluster, folder)
    text = script(image="registry.example:5000/team/cpu-ddp:1", checkpoints=f"{folder}/kept")
    job = cluster.submit(text, folder, environment=found)
    cluster.wait(job, "the end", lambda: ended(cluster, job))
    assert cluster.field(job, "JobState") == "COMPLETED", cluster.shown(job)
    arguments = cluster.run(f"cat {folder}/arguments").splitlines()
    assert "--container-image=registry.example:5000#team/cpu-ddp:1" in arguments
    assert f"--container-mounts={folder}/kept:/checkpoints" in arguments
    assert "--container-workdir=/opt/cpu-ddp" in arguments
    names = "OMP_NUM_THREADS,PYTHONUNBUFFERED,GLOO_SOCKET_IFNAME"
    assert f"--container-env={names}" in arguments
    assert "--checkpoints=/checkpoints" in arguments
    assert not [argument for argument in arguments if argument.startswith("--auto-resume")]


def test_on_hyperpod_the_step_resumes_by_itself(cluster: Slurm) -> None:
    folder = "/shared/hyperpod"
    found = stub(cluster, folder, "exit 7")
    cluster.run("mkdir /opt/sagemaker_cluster")
    try:
        job = cluster.submit(script(), folder, environment=found)
        cluster.wait(job, "the end", lambda: ended(cluster, job))
        assert "--auto-resume=1" in cluster.run(f"cat {folder}/arguments").splitlines()
        # A restart beside HyperPod's own would be one too many.
        assert (cluster.field(job, "ExitCode"), cluster.field(job, "Restarts")) == ("7:0", "0")
    finally:
        cluster.run("rmdir /opt/sagemaker_cluster")
