"""A job as an sbatch script for Slurm, in containers of pyxis or in a virtual environment."""

import math
import shlex
from dataclasses import dataclass

from bakehouse.images import latest
from bakehouse.launch.job import Job
from bakehouse.launch.node_command import Place
from bakehouse.launch.shell import render_shell, shell_word

CHECKPOINTS = "/checkpoints"
"""Where a container sees the folder of the checkpoints."""


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """What only Slurm needs to know."""

    partition: str | None = None


def render(job: Job, options: SlurmOptions) -> str:
    """The complete script."""
    place = Place(
        nodes=str(job.nodes),
        node="NODE",
        address="$head",
        port="$port",
        run="$SLURM_JOB_ID.$attempt",
    )
    command = job.node_command(place, checkpoints=CHECKPOINTS if job.image else "$checkpoints")
    names = [setting.variable for setting in job.environment]
    names += ["GLOO_SOCKET_IFNAME"] if _finds_interface(job) else []
    here = "$SLURM_SUBMIT_DIR"
    return render_shell(
        "job.sbatch.j2",
        job=job,
        partition=options.partition,
        # Slurm counts minutes.
        time_limit_minutes=math.ceil(job.time_limit_s / 60) if job.time_limit_s else None,
        output=f"{job.logs}/%x-%j.out" if job.logs else "%x-%j.out",
        logs=shlex.quote(job.logs) if job.logs else f'"{here}"',
        checkpoints=(
            shlex.quote(job.checkpoints) if job.checkpoints else f'"{here}/checkpoints/{job.name}"'
        ),
        image=_image(job),
        local_image=job.image if job.image_is_local else latest(job.case.name),
        mounts=_mounts(job),
        variables=[*names, *(secret.variable for secret in job.secrets)],
        secret_files=any(secret.place for secret in job.secrets),
        has_interface=not _finds_interface(job),
        command=[shell_word(word) for word in command],
    )


def _finds_interface(job: Job) -> bool:
    given = any(setting.variable == "GLOO_SOCKET_IFNAME" for setting in job.environment)
    return job.case.parallelism.backend == "gloo" and not given


def _mounts(job: Job) -> str:
    mounts = [f"$checkpoints:{CHECKPOINTS}"]
    mounts += ["$data:$data:ro"] if job.data else []
    return f'"{",".join(mounts)}"'


def _image(job: Job) -> str:
    """An image as pyxis names it: a file, or REGISTRY#IMAGE."""
    if job.image is None or job.image_is_local:
        return f'"$SLURM_SUBMIT_DIR/{job.case.name}.sqsh"'
    registry, slash, name = job.image.partition("/")
    if slash and registry and set(registry) & {".", ":"} and "#" not in job.image:
        return shlex.quote(f"{registry}#{name}")
    return shlex.quote(job.image)
