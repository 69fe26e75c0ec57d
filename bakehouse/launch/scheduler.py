"""What each scheduler is given, and giving it."""

import json
import subprocess
from dataclasses import dataclass, field
from typing import Literal

from bakehouse.errors import HostError, InputError, RunError
from bakehouse.launch import batch, docker_script, kubernetes, slurm
from bakehouse.launch.batch import BatchOptions
from bakehouse.launch.case import Launcher
from bakehouse.launch.job import Job
from bakehouse.launch.kubernetes import KubernetesOptions
from bakehouse.launch.slurm import SlurmOptions

Part = Literal["register-job-definition", "submit-job"]

_DRY_RUN = "add --dry-run, and take what it prints to a machine that has it"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What only one of the schedulers needs to know."""

    slurm: SlurmOptions = field(default_factory=SlurmOptions)
    kubernetes: KubernetesOptions = field(default_factory=KubernetesOptions)
    batch: BatchOptions = field(default_factory=BatchOptions)


def render(job: Job, launcher: Launcher, options: Options, part: Part | None = None) -> str:
    """The script, manifest or JSON of a job.

    Args:
        job: The job.
        launcher: For whom.
        options: What that one needs to know.
        part: Only this one of Batch's two requests.

    Raises:
        InputError: Something that this scheduler needs is missing.
    """
    if launcher == "slurm":
        return slurm.render(job, options.slurm)
    if launcher == "kubernetes":
        return kubernetes.render(job, options.kubernetes)
    if launcher == "batch":
        if part is None:
            return batch.render(job, options.batch)
        requests = json.loads(batch.render(job, options.batch))
        return json.dumps(requests[part], indent=2) + "\n"
    return docker_script.render(job)


def submit(job: Job, launcher: Launcher, options: Options, region: str | None = None) -> str:
    """Hand a job to its scheduler; returns what that one calls it.

    Raises:
        InputError: Something that this scheduler needs is missing.
        HostError: This machine cannot reach the scheduler.
        RunError: The scheduler refuses the job.
    """
    if launcher == "slurm":
        return _given(["sbatch", "--parsable"], render(job, launcher, options))
    if launcher == "kubernetes":
        return _given(["kubectl", "apply", "--filename=-"], render(job, launcher, options))
    if launcher != "batch":
        raise InputError(f"{launcher} takes no jobs", where="--on")
    # boto3 takes a third of a second to load.
    from bakehouse.machines.aws import regions  # noqa: PLC0415

    definition = batch.definition(job, options.batch)
    submission = batch.submission(job, options.batch)
    return regions([region] if region else [])[0].submit_job(definition, submission)


def _given(command: list[str], text: str) -> str:
    program = command[0]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        raise HostError(f"{program} does not run here: {error}", remedy=_DRY_RUN) from error
    if done.returncode:
        raise RunError(
            f"{program} refuses the job: {done.stderr.strip()}",
            where=" ".join(command),
            remedy="see what it says; --dry-run prints what it was given",
        )
    return done.stdout.strip()
